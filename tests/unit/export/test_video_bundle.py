"""A bundle holds the video model that it was trained with, and translates films by it alone."""

import shutil
from pathlib import Path

import pytest

from kinesweep.core.errors import BundleError, InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import Bundle, Input, export_bundle, find_inputs, verify_bundle
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from vision import film_corpus, film_recipe, vision_model

pytestmark = pytest.mark.integration


def test_a_film_is_translated_by_the_bundle_alone(
    tmp_path: Path, forked_verification: None
) -> None:
    model = vision_model(tmp_path / "videomae", "videomae")
    corpus = film_corpus(tmp_path / "corpus", train=6, validation=3)
    recipe = film_recipe(corpus, model, tmp_path / "stores")
    store = extract_locally(recipe)
    run = train_run(
        RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True
    )
    folder = export_bundle(run.folder, tmp_path / "bundle", store)
    assert verify_bundle(folder, store.folder, run.folder) == 3
    assert str(tmp_path) not in (folder / "recipe.yaml").read_text()
    assert str(tmp_path) not in (folder / "features.json").read_text()
    shutil.rmtree(model)
    bundle = Bundle.load(folder)
    path = run.folder / "predictions" / "validation.tsv"
    lines = {p.clip_id: p.hypothesis for p in read_predictions(path)}
    films = [corpus / record.clip.media for record in store.get_records("validation")]
    wanted = [lines[record.clip.id] for record in store.get_records("validation")]
    assert bundle.translate([Input(film) for film in films]) == wanted
    listed = find_inputs([corpus / "films"], bundle.loaded.recipe.corpora[0])
    assert len(listed) == 9 and all(item.file.suffix == ".mp4" for _, item in listed)
    with pytest.raises(InputError, match="translates videos"):
        bundle.translate([tmp_path / "a.pose"])
    (folder / "vision" / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"vision/model\.safetensors` is missing"):
        Bundle.load(folder)
