"""A recipe with two kinds of input made of the same signs: their tokens, and their drawings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import tiny_store
from kinesweep.core.errors import InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import Bundle, export_bundle, find_inputs
from kinesweep.export.part_inputs import parse_stream_files
from kinesweep.export.pyfunc_model import BundleModel
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.training.loop.run import RunSpec, train_run
from vision import vision_model
from written import SIGNS, signed_texts, written_recipe


def test_tokens_and_drawings_in_one_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = {"kind": "hf_vision", "pretrained": str(vision_model(tmp_path / "dinov2", "dinov2"))}
    parts = [
        {"name": "tokens", "kind": "text", "tokenizer": {"kind": "fsw"}},
        {"name": "drawn", "kind": "images", "encoder": encoder},
    ]
    model = {"encoder": {"kind": "linear"}, "encoders": {"tokens": {"kind": "tokens"}}}
    signals = signed_texts(8)
    recipe = written_recipe(tmp_path, "signwriting_tsv", signals, features=parts, model=model)
    store = tiny_store(recipe)
    assert {name: schema.dtype for name, schema in store.schema.streams.items()} == {
        "tokens": "int32",
        "drawn": "float16",
    }
    train_run(RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True)
    export_bundle(tmp_path / "run", tmp_path / "bundle", store)
    assert compare_bundle_with_run(tmp_path / "bundle", store, tmp_path / "run") == 2
    loaded = Bundle.load(tmp_path / "bundle")
    (tmp_path / "new.txt").write_text(SIGNS[0])
    ((_, item),) = find_inputs([tmp_path / "new.txt"], loaded.loaded.recipe.corpora[0])
    expected = store.get_features(store.get_records("train")[0])
    for name, x_TD in loaded.compute_feature_arrays(item).items():
        np.testing.assert_array_equal(x_TD, expected[name])
    (text,) = loaded.translate([item])
    # Rows name the text of a stream in its column; spans are those of streams that have times.
    table = tmp_path / "new.tsv"
    table.write_text(f"id\ttokens\tdrawn\nnew\t{SIGNS[0]}\t{SIGNS[0]}\n")
    ((name, row),) = find_inputs([table], loaded.loaded.recipe.corpora[0], parts=loaded.parts)
    assert name == "new" and loaded.translate([row]) == [text]
    # Each line of a text file is a clip; the file of a stream has one.
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{SIGNS[1]}\n\n{SIGNS[0]}\n")
    named = find_inputs([lines], loaded.loaded.recipe.corpora[0], parts=loaded.parts)
    assert [name for name, _ in named] == [f"{lines}:1", f"{lines}:3"]
    assert loaded.translate([named[1][1]]) == [text]
    with pytest.raises(InputError, match="has 2 lines with text, but a clip has one"):
        parse_stream_files([f"tokens={lines}"], loaded.parts)
    _serve(loaded, text, caplog)


def _serve(bundle: Bundle, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Absent streams of a request are named; values that are not read are refused."""
    model, sign = BundleModel(bundle), SIGNS[0].encode()
    both, one = {"tokens": sign, "drawn": sign}, {"tokens": sign, "drawn": None}
    assert model.predict(Rows([both])) == [{"text": text}] and not caplog.records
    model.predict(Rows([one]))
    assert "1 of 1 clips have no `drawn`" in caplog.text
    with pytest.raises(InputError, match="row 0: `drawn` must be the bytes of a file, but is of"):
        model.predict(Rows([{**one, "drawn": SIGNS[0]}]))


class Rows:
    """What a data frame gives to a served model."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return self._rows
