"""MLflow, W&B and TensorBoard hold the same points of a run, each once, after a kill too."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_corpus, tiny_recipe
from fresh_process import FreshProcess
from kinesweep.tracking import server
from kinesweep.tracking.backends import (
    CombinedTracker,
    MlflowTracker,
    TensorBoardTracker,
    WandbTracker,
)
from kinesweep.tracking.queued_run_logger import RunIdentifiers
from kinesweep.tracking.wandb.transaction_log import read_history
from tracked import (
    expected_points,
    mlflow_points,
    once,
    tensorboard_points,
    wandb_points,
    write_apart,
)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    yield server.start_mlflow_server(home).address
    server.stop_mlflow_server(home)


@pytest.fixture
def all_three(uri: str, tmp_path: Path, request: pytest.FixtureRequest) -> CombinedTracker:
    """An experiment of its own for each test."""
    question = request.node.name
    mlflow = MlflowTracker(uri, question, tmp_path / "tracking.lock")
    return CombinedTracker(
        (mlflow, TensorBoardTracker(question), WandbTracker(question, "offline"))
    )


def test_all_three_hold_each_point_once_after_a_kill(
    all_three: CombinedTracker, uri: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    writer = write_apart(all_three, folder, 0, 40, wait_s=60)
    for line in writer.stdout:
        if int(line) == 39:
            break
    _until(lambda: list(folder.glob("wandb/offline-run-*/*.wandb")))
    writer.kill()
    writer.wait()
    assert write_apart(all_three, folder, 20, 60).wait(60) == 0
    expected = expected_points(60)
    assert mlflow_points(uri, all_three.trackers[0].experiment, str(folder)) == expected
    assert wandb_points(folder) == expected
    assert once(tensorboard_points(folder), expected)


def test_one_that_is_away_holds_up_none_of_the_others(tmp_path: Path, uri: str) -> None:
    away = MlflowTracker("http://127.0.0.1:9", "away", tmp_path / "lock")
    tracker = CombinedTracker((away, TensorBoardTracker("away"), WandbTracker("away", "offline")))
    log = tracker.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    for step in range(50):
        log.log_metrics({"loss": float(step)}, step)
    log.finish("finished")
    assert len(wandb_points(tmp_path)) == len(tensorboard_points(tmp_path)) == 50
    back = CombinedTracker((MlflowTracker(uri, "away", tmp_path / "lock"), *tracker.trackers[1:]))
    assert back.flush_pending(tmp_path) == 0
    assert len(mlflow_points(uri, "away", "r")) == len(wandb_points(tmp_path)) == 50


def test_a_tracker_that_joins_later_gets_what_the_others_had(
    all_three: CombinedTracker, tmp_path: Path
) -> None:
    """As long as MLflow alone has not confirmed and forgotten it."""
    for tracker, steps in ((all_three.trackers[1], range(5)), (all_three, range(3, 9))):
        log = tracker.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
        for step in steps:
            log.log_metrics({"loss": float(step)}, step)
        log.finish("stopped")
    assert wandb_points(tmp_path) == {("loss", step): [float(step)] for step in range(9)}
    assert once(tensorboard_points(tmp_path), wandb_points(tmp_path))


TRAINING = """
import sys
from pathlib import Path
from kinesweep.config.recipe import Recipe
from kinesweep.pipelines.training import train_recipe

recipe = Recipe.model_validate_json(Path(sys.argv[1]).read_text())
train_recipe(recipe, Path(sys.argv[2]), overwrite=False, on_ray=False)
"""


@pytest.mark.slow
def test_a_training_that_is_killed_and_resumed(uri: str, tmp_path: Path) -> None:
    """Its steps after the checkpoint are trained twice and recorded once by all three."""
    training = {"max_steps": 240, "eval_steps": 40, "logging_steps": 1}
    trackers = ("mlflow", "wandb", "tensorboard")
    recipe = tiny_recipe(
        tiny_corpus(tmp_path), tmp_path / "stores", training=training, tracking=trackers
    )
    path, folder = tmp_path / "recipe.json", tmp_path / "run"
    path.write_text(recipe.model_dump_json())
    env = {
        "MLFLOW_TRACKING_URI": uri,
        "WANDB_MODE": "offline",
        "KINESWEEP_HOME": str(tmp_path / "home"),
    }
    first = FreshProcess(TRAINING, [str(path), str(folder)], env)
    # Between two checkpoints, with W&B's process at work.
    _until(lambda: _last_step(folder) > 90 and list(folder.glob("wandb/offline-run-*")))
    first.kill()
    first.wait()
    killed_at = _last_step(folder)
    assert killed_at < 240
    done = FreshProcess(TRAINING, [str(path), str(folder)], env).wait()
    assert done.returncode == 0, done.stderr
    in_wandb, in_tensorboard = wandb_points(folder), tensorboard_points(folder)
    in_mlflow = mlflow_points(uri, recipe.name, str(folder))
    assert {step for name, step in in_mlflow if name == "samples"} >= set(range(1, 241))
    assert in_mlflow == in_wandb
    assert all(len(values) == 1 for values in in_wandb.values())
    assert once(in_tensorboard, in_wandb)
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    assert [row["_step"] for row in read_history(log)] == list(range(len(read_history(log))))
    assert any((log.parent / "files").glob("validation.tsv"))


def _last_step(folder: Path) -> int:
    """Of the metrics that a run has written."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines()[:-1] if path.exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)


def _until(true: Any, timeout_s: float = 60.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.02)
