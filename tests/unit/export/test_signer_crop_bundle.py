"""Bundles of models of cropped films: the same squares in translation, and the detector inside."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from frames import frames_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export import Bundle, Input, export_bundle
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from vision import film_corpus, film_recipe, follow_block, vision_model, yolos

pytestmark = pytest.mark.integration
SHORT = {"max_steps": 4, "eval_steps": 2}


def train_and_export(recipe: Recipe, folder: Path) -> tuple[Bundle, dict[Path, str]]:
    """The bundle of a short training, and the text of the run for each film of validation."""
    store = extract_locally(recipe)
    spec = RunSpec(recipe, store.folder, folder / "run")
    run = train_run(spec, NullRunLogger(), lambda _: True)
    bundle = export_bundle(run.folder, folder / "bundle", store)
    assert compare_bundle_with_run(bundle, store, run.folder) == 2
    assert str(folder) not in (bundle / "recipe.yaml").read_text()
    lines = read_predictions(run.folder / "predictions" / "validation.tsv")
    texts = {line.clip_id: line.hypothesis for line in lines}
    records = store.get_records("validation")
    corpus = Path(str(recipe.corpora[0].train)).parent
    return Bundle.load(bundle), {corpus / r.clip.media: texts[r.clip.id] for r in records}


def test_a_detector_travels_with_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    model, detector = vision_model(tmp_path / "dinov2", "dinov2"), yolos(tmp_path / "yolos")
    corpus = film_corpus(tmp_path / "corpus", train=4, validation=2)
    settings = {"kind": "hf_detector", "pretrained": str(detector), "threshold": 0.0}
    crop = {"detector": {**settings, "short_side": 32}, "movement": "smoothed"}
    recipe = film_recipe(
        corpus, model, tmp_path / "stores", features={"crop": crop}, training=SHORT
    )
    bundle, wanted = train_and_export(recipe, tmp_path)
    # Neither the models nor the detections of the training are there any more.
    for folder in (model, detector, tmp_path / "home"):
        shutil.rmtree(folder)
    assert bundle.translate([Input(film) for film in wanted]) == list(wanted.values())
    assert (tmp_path / "home/detections").is_dir()


def test_frames_are_cropped_by_the_poses_beside_a_film(tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=4, validation=2)
    for film in (corpus / "films").iterdir():
        follow_block(film.with_suffix(".pose"), 60, size=(64, 48))
    changes: dict[str, Any] = {
        "features": {"crop": {}, "target_fps": 5.0},
        "source": {"poses": str(corpus)},
        "training": SHORT,
    }
    recipe = frames_recipe(corpus, tmp_path / "stores", **changes)
    bundle, wanted = train_and_export(recipe, tmp_path)
    assert bundle.translate([Input(film) for film in wanted]) == list(wanted.values())
    film = next(iter(wanted))
    film.with_suffix(".pose").unlink()
    with pytest.raises(InputError, match=r"uses crops \(signer\) of .*estimate-poses"):
        bundle.translate([Input(film)])
