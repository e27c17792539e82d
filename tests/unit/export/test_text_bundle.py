"""Models of texts and SignWriting: trained, exported, verified; files and tables are translated."""

import numpy as np
import pandas as pd
import pytest

from corpus import tiny_store
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.units import Span
from kinesweep.export import Bundle, export_bundle, find_inputs
from kinesweep.export.pyfunc_model import BundleModel
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.training.loop.run import RunSpec, train_run
from written import SIGNS, signed_texts, texts, written_recipe

FEATURES = {
    "text_tsv": {"kind": "text", "tokenizer": {"kind": "bytes"}},
    "signwriting_tsv": {"kind": "text", "stream": "signs", "tokenizer": {"kind": "fsw"}},
}


@pytest.fixture(scope="module", params=FEATURES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Kind of the source, folder and bundle of a model that was trained for a step."""
    kind, folder = request.param, tmp_path_factory.mktemp("texts")
    signals = texts(10) if kind == "text_tsv" else signed_texts(10)
    recipe = written_recipe(folder, kind, signals, features=FEATURES[kind])
    store = tiny_store(recipe)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    export_bundle(folder / "run", folder / "bundle", store)
    return kind, folder, recipe, store


def test_the_store_holds_whole_numbers(bundle) -> None:
    kind, _, _, store = bundle
    ((name, schema),) = store.schema.streams.items()
    assert (schema.dtype, schema.width) == ("int32", 1)
    assert schema.vocabulary.size == {"text_tsv": 256, "signwriting_tsv": 1182}[kind]
    record = store.get_records("train")[1]
    ids = store.get_features(record)[name]
    assert ids.dtype == np.int32 and len(ids) == record.lengths[name]
    if kind == "text_tsv":
        assert bytes(ids[:, 0].tolist()).decode() == record.clip.media


def test_the_bundle_is_the_model(bundle) -> None:
    _, folder, _, store = bundle
    assert compare_bundle_with_run(folder / "bundle", store, folder / "run") == 2


def test_lines_tables_and_requests_have_one_translation(bundle) -> None:
    kind, folder, _, _ = bundle
    loaded = Bundle.load(folder / "bundle")
    source = loaded.loaded.recipe.corpora[0]
    signal = texts(1)[0] if kind == "text_tsv" else SIGNS[0]
    (folder / "one.txt").write_text(f"{signal}\n")
    (folder / "two.txt").write_text(f"{signal}\n\n{signal}\n")
    (folder / "new.tsv").write_text(f"id\tsignal\tdecoder_prompt\nx\t{signal}\t__en__\n")
    paths = [folder / name for name in ("one.txt", "two.txt", "new.tsv")]
    named = find_inputs(paths, source)
    assert [name for name, _ in named] == [
        str(paths[0]),
        f"{paths[1]}:1",
        f"{paths[1]}:3",
        "x",
    ]
    found = loaded.translate([item for _, item in named])
    row = pd.DataFrame([{"source_text": signal}])
    found += [row["text"] for row in BundleModel(loaded).predict(row)]
    assert len(set(found)) == 1
    with pytest.raises(InputError, match="has no times"):
        loaded.compute_features(paths[0], Span.from_ms(0, 100))
    if kind == "signwriting_tsv":
        paths[0].write_text("no sign\n")
        ((_, item),) = find_inputs(paths[:1], source)
        with pytest.raises(ClipError, match="is not a sign in Formal SignWriting"):
            loaded.translate([item])
