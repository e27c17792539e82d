"""Dry runs do everything on a few clips, leave nothing that is taken for real, tell the time."""

import shutil
from pathlib import Path

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.pipelines.dry_run import dry_run_evaluation, dry_run_extraction, dry_run_training
from kinesweep.pipelines.extraction import extract_features
from kinesweep.pipelines.inputs import load_recipe
from kinesweep.pipelines.training import train_recipe
from kinesweep.store.format.test_set_ledger import count_test_evaluations

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe that asks for a GPU and half precision, which a dry run must do without."""
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    made = tiny_recipe(tiny_corpus(tmp_path), tmp_path / "stores", training={"max_steps": 40})
    plain = made.model_dump(mode="json")
    plain["resources"]["gpus"], plain["training"]["precision"] = 1, "fp16"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain))
    return tmp_path / "recipe.yaml"


CPU = ["resources.gpus=0", "training.precision=fp32"]


@pytest.mark.slow
def test_a_dry_run_before_the_real_one(recipe: Path) -> None:
    home = recipe.parent / "home"
    leftover = home / "dry-runs/tiny-extract/stores/leftover"
    leftover.mkdir(parents=True)
    assert dry_run_extraction(recipe, []).extraction > 0
    assert not leftover.exists()
    done, expected = dry_run_training(recipe, [], on_ray=False)
    assert (done.status, done.step) == ("finished", 10)
    assert done.folder.is_relative_to(home / "dry-runs") and done.scores
    text = (done.folder / "best/recipe.yaml").read_text()
    assert "name: dry-run-tiny" in text
    assert [name for name, value in vars(expected).items() if not value] == ["estimation"]
    assert expected.format_summary().startswith("a full run takes at most about ")
    assert not (recipe.parent / "stores").exists() and not (home / "runs").exists()

    # What the predecessor did: the few clips lie where the real features will be.
    shutil.copytree(home / "dry-runs/tiny-train/stores", recipe.parent / "stores")
    store = extract_features(load_recipe(recipe, CPU))
    assert {split: len(store.get_records(split)) for split in store.splits} == {
        split: len((recipe.parent / f"corpus/{split}.tsv").read_text().splitlines()) - 1
        for split in ("train", "validation", "test")
    }
    run = train_recipe(load_recipe(recipe, CPU), None, overwrite=False, on_ray=False)
    assert run.step == 40 and run.folder.is_relative_to(home / "runs")
    assert expected.training < 20 * run.seconds

    again = dry_run_evaluation(run.folder, "test", [])
    assert again.decoding > 0
    assert len(read_predictions(home / "dry-runs/tiny-evaluate/predictions.tsv")) <= 10
    assert count_test_evaluations(store) == 0


@pytest.mark.slow
def test_a_dry_run_on_ray(recipe: Path) -> None:
    done, _ = dry_run_training(recipe, ["training.max_steps=5000"], on_ray=True)
    assert (done.status, done.step) == ("finished", 10)
