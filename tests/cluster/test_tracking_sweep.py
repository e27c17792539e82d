"""A sweep whose MLflow server dies in the middle: every point arrives once all the same."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from corpus import tiny_corpus, tiny_recipe
from kinesweep.tracking import server
from kinesweep.tracking.wire import RUN_KEY

pytestmark = pytest.mark.slow
AWAY_S = float(os.environ.get("KINESWEEP_AWAY_S", "8"))
"""`make soak` asks for 60."""
STEPS = int(100 * AWAY_S)
"""Of a run: some seconds less than the server is away, so that the sweep outlasts it by far."""
QUESTION = "Does tracking lose a point?"
SPACE = {
    "question": QUESTION,
    "recipe": "tiny.yaml",
    "search": {"kind": "random", "trials": 4, "seed": 0},
    "scheduler": {"kind": "none"},
    "finalists": {"count": 1, "seeds": [1, 2]},
    "baseline": False,
    "sanity": [],
    "parameters": {"training.learning_rate": {"log": [1e-4, 1e-2]}},
}


def kinesweep(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """A verb as a process of its own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
    env |= {"KINESWEEP_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kinesweep", *arguments]
    return subprocess.Popen(command, env=env, cwd=home, stderr=subprocess.PIPE, text=True)


def test_the_server_is_away_in_the_middle(tmp_path: Path) -> None:
    training = {"max_steps": STEPS, "eval_steps": STEPS // 5, "logging_steps": 10}
    recipe = tiny_recipe(
        tiny_corpus(tmp_path), tmp_path / "stores", training=training, tracking="mlflow"
    )
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    service = server.start_server(tmp_path)
    try:
        sweep = kinesweep(tmp_path, "sweep", "space.yaml")
        while sweep.poll() is None and not _recorded(service.address):
            time.sleep(0.5)
        assert sweep.poll() is None
        os.killpg(service.pid, signal.SIGKILL)
        time.sleep(AWAY_S)
        assert server.start_server(tmp_path).address == service.address
        _, said = sweep.communicate(timeout=800)
        assert sweep.returncode == 0, said[-3000:]
        _assert_all_there_once(service.address, tmp_path / "sweeps/space/runs")
    finally:
        server.stop_server(tmp_path)


def _recorded(address: str) -> bool:
    """Whether some point of a run has arrived."""
    return any("loss" in run.data.metrics for run in _runs(MlflowClient(address)))


def _runs(client: MlflowClient) -> list[Any]:
    found = client.get_experiment_by_name(QUESTION)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def _assert_all_there_once(address: str, folder: Path) -> None:
    """What each run wrote down beside itself is what the server holds, point by point."""
    client = MlflowClient(address)
    by_key = {run.data.tags.get(RUN_KEY): run for run in _runs(client)}
    files = sorted(folder.glob("*/metrics.jsonl"))
    assert len(files) == 6
    for file in files:
        run = by_key[str(file.parent)]
        assert run.info.status == "FINISHED"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        names = {name for row in rows for name in row} - {"step"}
        assert {"loss", "token_loss"} <= names
        for name in names:
            wanted = Counter({row["step"] for row in rows if name in row})
            points = client.get_metric_history(run.info.run_id, name)
            assert Counter(point.step for point in points) == wanted, (file, name)
