"""Seed and configuration of a run in MLflow come from the recipe or the sweep, not from a path."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from kinesweep.core.errors import TrackingError
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.pipelines import training
from kinesweep.pipelines.sweeps import tracking_links
from kinesweep.pipelines.tracking import RunLogOpener
from kinesweep.sweeps.journal.sweep_metadata import SweepMetadata, write_sweep_metadata
from kinesweep.tracking.backends import CombinedTracker, TensorBoardTracker, WandbTracker
from kinesweep.tracking.queued_run_logger import RunIdentifiers
from spaces import load


@dataclass
class RecordingTracker:
    """Remembers the identifiers of the runs that are opened."""

    opened: list[RunIdentifiers] = field(default_factory=list)

    def open_run_logger(self, name: RunIdentifiers, folder: Path) -> RunLogger:
        self.opened.append(name)
        return NullRunLogger()


@pytest.mark.parametrize(
    ("folder", "title", "parent", "config_hash", "seed"),
    [
        ("tiny-0123456789ab-s7", "tiny-0123456789ab-s7", None, "0123456789ab", "7"),
        ("my-s3", "tiny-0123456789ab-s7", None, "0123456789ab", "7"),
        ("run-2", "tiny-0123456789ab-s7 run-2", None, "", "7"),
        ("0123456789ab-s2", "trial 4, seed 2", "sweep", "0123456789ab", "2"),
    ],
)
def test_a_run_is_tagged_with_its_own_seed(
    tmp_path: Path, folder: str, title: str, parent: str | None, config_hash: str, seed: str
) -> None:
    recipe = tiny_recipe(tmp_path, tmp_path, name="tiny", training={"seed": 7})
    tracker: Any = RecordingTracker()
    RunLogOpener(tracker, recipe, parent)(tmp_path / folder, title, "train", {})
    (identifiers,) = tracker.opened
    assert (identifiers.tags["config_hash"], identifiers.tags["seed"]) == (config_hash, seed)


def test_an_unusable_tracker_is_found_before_the_extraction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(training, "extract_features", None)  # a call would fail
    recipe = tiny_recipe(tmp_path, tmp_path, tracking=["wandb"])
    with pytest.raises(TrackingError, match="`WANDB_MODE` is `disabled`"):
        training.train_recipe(recipe, None, overwrite=False, on_ray=False)


def test_no_server_is_started_for_sweeps_that_are_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    monkeypatch.setattr(tracking_links, "start_mlflow_server", None)  # a call would fail
    both = CombinedTracker((TensorBoardTracker("q"), WandbTracker("q", "offline")))
    log = both.open_run_logger(RunIdentifiers("s", "s"), tmp_path / "sweeps" / "mine")
    log.finish("finished")
    address, links = tracking_links.collect_tracking_links("mine")
    assert address == "" and set(links["mine"]) == {"TensorBoard", "W&B"}


def test_a_sweep_without_tracking_has_its_report_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    monkeypatch.setattr(tracking_links, "start_mlflow_server", None)  # a call would fail
    monkeypatch.setattr(tracking_links, "complete_study", lambda folder: "optuna-dashboard x")
    space, recipe = load(tmp_path, search={"kind": "random", "trials": 2})
    folder = tmp_path / "sweeps" / "mine"
    recipe = recipe.model_copy(update={"tracking": "none"})
    (folder / "report").mkdir(parents=True)
    write_sweep_metadata(folder, SweepMetadata(space, recipe, tmp_path / "store"))
    (folder / "report/index.html").write_text("")
    address, links = tracking_links.collect_tracking_links("mine")
    assert address == "" and set(links["mine"]) == {"file", "Optuna"}
