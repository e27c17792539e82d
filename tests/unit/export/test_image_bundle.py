"""Models of images, drawn texts and drawn signs: by vectors, or with a vision model that learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus import tiny_store
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import Bundle, export_bundle, find_inputs
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.features.images.drawing import find_default_font
from kinesweep.training.loop.run import RunSpec, train_run
from vision import SIZE, vision_model
from written import image_names, signed_texts, texts, written_recipe

COUNT = 6
VISION = {"kind": "hf", "windows": {"num_frames": 1}, "batch": 4}


def signals_of(kind: str, folder: Path) -> list[str]:
    if kind == "image_tsv":
        return image_names(folder, COUNT)
    return texts(COUNT) if kind == "text_tsv" else signed_texts(COUNT)


def write_input(kind: str, folder: Path) -> Path:
    """The signal of the first clip as a file to translate."""
    if kind == "image_tsv":
        return folder / "0.png"
    (folder / "new.txt").write_text(signals_of(kind, folder)[0])
    return folder / "new.txt"


@pytest.mark.parametrize("kind", ["image_tsv", "signwriting_tsv", "text_tsv"])
@pytest.mark.parametrize("stored", ["pixels", "vectors"])
def test_the_bundle_is_the_model(tmp_path: Path, kind: str, stored: str) -> None:
    model_dir = vision_model(tmp_path / "dinov2", "dinov2")
    features: dict[str, Any] = {"kind": "images"}
    model: dict[str, Any] = {"encoder": {"kind": "linear", "standardize": False}}
    if kind == "text_tsv":
        features |= {"font": find_default_font(), "font_size": 8}
    if stored == "pixels":
        features["size"] = SIZE
        model["vision"] = {**VISION, "pretrained": str(model_dir)}
    else:
        features["encoder"] = {"kind": "hf_vision", "pretrained": str(model_dir)}
    recipe = written_recipe(
        tmp_path, kind, signals_of(kind, tmp_path), features=features, model=model
    )
    store = tiny_store(recipe)
    schema = store.schema.streams["images"]
    assert schema.frame_size == (SIZE if stored == "pixels" else None)
    assert (schema.width, schema.dtype) == (
        (SIZE * SIZE * 3, "uint8") if stored == "pixels" else (16, "float16")
    )
    run = train_run(
        RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True
    )
    assert run.status == "finished"
    export_bundle(tmp_path / "run", tmp_path / "bundle", store)
    assert compare_bundle_with_run(tmp_path / "bundle", store, tmp_path / "run") == 2
    # A bundle needs neither the image model nor the font of this machine.
    loaded = Bundle.load(tmp_path / "bundle")
    file = write_input(kind, tmp_path)
    ((name, item),) = find_inputs([file], loaded.loaded.recipe.corpora[0])
    expected = store.get_features(store.get_records("train")[0])["images"]
    np.testing.assert_array_equal(loaded.compute_feature_arrays(item)["images"], expected)
    assert name == str(file) and len(loaded.translate([item])) == 1
    paths = [p for p in loaded.loaded.recipe.features.model_dump().values() if isinstance(p, str)]
    assert not any(p.startswith("/") and str(tmp_path / "bundle") not in p for p in paths)
    assert torch.isfinite(next(loaded.loaded.model.parameters())).all()
