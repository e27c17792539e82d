"""A recipe with two kinds of input made of the same signs: their tokens, and their drawings."""

from pathlib import Path

import numpy as np

from corpus import tiny_store
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import Bundle, export_bundle, find_inputs
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.training.loop.run import RunSpec, train_run
from vision import vision_model
from written import SIGNS, signed_texts, written_recipe


def test_tokens_and_drawings_in_one_model(tmp_path: Path) -> None:
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
    assert len(loaded.translate([item])) == 1
