"""What MLflow, W&B and TensorBoard hold of a run: (metric, step) → its values, usually one."""

import os
import pickle
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from kinesweep.tracking import server
from kinesweep.tracking.tensorboard.sender import EVENT_FILE
from kinesweep.tracking.wandb.sender import STEP_METRIC, SYSTEM_STEP_METRIC
from kinesweep.tracking.wandb.transaction_log import read_history

Points = dict[tuple[str, int], list[float]]

WRITER = textwrap.dedent(
    """
    import pickle, sys, time
    from pathlib import Path
    from kinesweep.tracking.queued_run_logger import RunIdentifiers

    tracker, folder, first, last, pause, wait = sys.argv[1:]
    log = pickle.loads(bytes.fromhex(tracker)).open_run_logger(
        RunIdentifiers(folder, "r", {"phase": "search", "seed": "1", "config_hash": "abc"}),
        Path(folder),
    )
    log.log_params({"training.learning_rate": 1e-4})
    for step in range(int(first), int(last)):
        log.log_metrics({"loss": 1 / (step + 1)}, step)
        if step % 3 == 0:
            log.log_metrics({"bleu": float(step)}, max(step - 2, 0))
        print(step, flush=True)
        time.sleep(float(pause))
    time.sleep(float(wait))
    log.finish("finished")
    """
)


def write_apart(
    tracker: Any, folder: Path, first: int, last: int, *, pause_s: float = 0.0, wait_s: float = 0.0
) -> Any:
    """Write a run in a process of its own, which says each step and waits before the end."""
    arguments = (pickle.dumps(tracker).hex(), folder, first, last, pause_s, wait_s)
    env = {**os.environ, "PYTHONPATH": str(Path(server.__file__).parents[2])}
    command = [sys.executable, "-c", WRITER, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def expected_points(last: int) -> Points:
    """The points of `WRITER`: each once."""
    points = {("loss", step): [1 / (step + 1)] for step in range(last)}
    for step in range(0, last, 3):
        points.setdefault(("bleu", max(step - 2, 0)), [float(step)])
    return points


def once(found: Points, expected: Points) -> bool:
    """Whether points are the expected ones as 32-bit floats, each as often as expected."""
    as_floats = {key: [float(np.float32(x)) for x in values] for key, values in expected.items()}
    return found == as_floats


def tensorboard_points(folder: Path) -> Points:
    """As TensorBoard's own reader finds them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder / EVENT_FILE), size_guidance={"scalars": 0})
    reader.Reload()
    points: Points = defaultdict(list)
    for tag in reader.Tags()["scalars"]:
        for event in reader.Scalars(tag):
            points[tag, event.step].append(event.value)
    return dict(points)


def wandb_points(folder: Path) -> Points:
    """Of all offline folders of a run: what `wandb sync` uploads."""
    points: Points = defaultdict(list)
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for row in read_history(path):
            for name, value in row.items():
                if not name.startswith("_") and name not in (STEP_METRIC, SYSTEM_STEP_METRIC):
                    step = row[SYSTEM_STEP_METRIC if name.startswith("system/") else STEP_METRIC]
                    points[name, step].append(value)
    return dict(points)


def mlflow_points(uri: str, experiment: str, key: str) -> Points:
    """As MLflow's server has them."""
    from mlflow import MlflowClient

    from kinesweep.tracking.mlflow_client import RUN_KEY_TAG

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    (run,) = client.search_runs([found.experiment_id], f"tags.`{RUN_KEY_TAG}` = '{key}'")
    points: Points = defaultdict(list)
    for name in run.data.metrics:
        for point in client.get_metric_history(run.info.run_id, name):
            points[name, point.step].append(point.value)
    return dict(points)
