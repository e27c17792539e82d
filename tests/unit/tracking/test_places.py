"""Where the runs of a folder are seen: read from its queue, also while it is written."""

import subprocess
from pathlib import Path

from kinesweep.tracking.backends import CombinedTracker, TensorBoardTracker, WandbTracker
from kinesweep.tracking.places import RecordedPlaces, find_recorded_places
from kinesweep.tracking.queued_run_logger import RunIdentifiers

BOTH = CombinedTracker((TensorBoardTracker("q"), WandbTracker("q", "offline")))


def test_a_folder_tells_its_trackers(tmp_path: Path) -> None:
    assert find_recorded_places(tmp_path) == RecordedPlaces()
    sweep = tmp_path / "my sweep"
    log = BOTH.open_run_logger(RunIdentifiers("s", "s"), sweep)
    inner = BOTH.open_run_logger(RunIdentifiers("r", "r"), sweep / "runs" / "a-s1")
    inner.log_metrics({"loss": 1.0}, 1)
    inner.finish("finished")
    places = find_recorded_places(sweep)
    log.finish("finished")
    assert not places.is_in_mlflow
    assert places.commands["TensorBoard"] == f"tensorboard --logdir '{sweep}'"
    # Each word of the command is a folder that W&B looks through.
    words = places.commands["W&B"].removeprefix("wandb sync ")
    shown = subprocess.run(f"ls -d {words}", shell=True, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [f"{sweep}/runs/a-s1/wandb", f"{sweep}/wandb"]
