"""Tracking under load: many writers, SQLite and PostgreSQL; and what it costs a run."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.tracking import server
from kinesweep.tracking.backends import (
    CombinedTracker,
    MlflowTracker,
    QueueTracker,
    TensorBoardTracker,
    WandbTracker,
)
from kinesweep.tracking.queued_run_logger import RunIdentifiers
from kinesweep.training.loop.run import train_run
from kinesweep.training.run_records.result import RunSpec
from postgres import run_postgres

pytestmark = pytest.mark.slow
METRICS = 20
WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from kinesweep.tracking.backends import MlflowTracker
    from kinesweep.tracking.queued_run_logger import RunIdentifiers

    uri, lock, folder, key, steps, metrics = sys.argv[1:]
    tracker = MlflowTracker(uri, "load", Path(lock))
    log = tracker.open_run_logger(RunIdentifiers(key, key, {}, "sweep"), Path(folder))
    for step in range(int(steps)):
        log.log_metrics({f"m{n}": step + n / 100 for n in range(int(metrics))}, step)
    log.finish("finished")
    """
)


@pytest.fixture
def postgres() -> Iterator[str]:
    """A PostgreSQL of this test alone; its address."""
    with run_postgres() as address:
        yield address


@pytest.mark.parametrize(
    ("writers", "steps"), [(4, 150), pytest.param(16, 500, marks=pytest.mark.proof)]
)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_writers_lose_nothing(
    database: str, writers: int, steps: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every point of every metric of every writer, once."""
    store = request.getfixturevalue("postgres") if database == "postgres" else None
    uri = server.start_mlflow_server(tmp_path, backend_store=store).address
    try:
        began = time.monotonic()
        running = [_writer(uri, tmp_path, number, steps) for number in range(writers)]
        assert [writer.wait(600) for writer in running] == [0] * writers
        print(f"{database}: {writers * steps * METRICS} points in {time.monotonic() - began:.0f} s")
        _check(uri, writers, steps)
    finally:
        server.stop_mlflow_server(tmp_path)


def _writer(uri: str, folder: Path, number: int, steps: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, uri, str(folder / "lock"), str(folder / str(number))]
    env = {**os.environ, "PYTHONPATH": str(Path(server.__file__).parents[2])}
    return subprocess.Popen([*command, f"w{number}", str(steps), str(METRICS)], env=env)


def _check(uri: str, writers: int, steps: int) -> None:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("load").experiment_id
    runs = [run for run in client.search_runs([experiment]) if run.data.metrics]
    assert len(runs) == writers
    asked = [(run.info.run_id, n) for run in runs for n in range(METRICS)]

    def points(item: tuple[str, int]) -> list[tuple[int, float]]:
        run, n = item
        history = client.get_metric_history(run, f"m{n}")
        return sorted((point.step, point.value) for point in history)

    with ThreadPoolExecutor(4) as pool:
        for (_, n), found in zip(asked, pool.map(points, asked), strict=True):
            assert found == [(step, step + n / 100) for step in range(steps)]


@pytest.mark.parametrize("several", [False, True], ids=["mlflow", "mlflow, wandb, tensorboard"])
@pytest.mark.parametrize("steps", [500, pytest.param(1500, marks=pytest.mark.proof)])
def test_it_takes_less_than_two_percent_of_a_run(tmp_path: Path, steps: int, several: bool) -> None:
    """CPU of tracking's threads and time in its calls, beside the run's seconds.

    The trackers take some 2 s of CPU to import and to start, once in a process (a worker trains
    many runs), so that is paid before.
    """
    training = {"max_steps": steps, "eval_steps": steps // 2, "logging_steps": 10}
    recipe = tiny_recipe(tiny_corpus(tmp_path), tmp_path / "stores", training=training)
    store = tiny_store(recipe)
    uri = server.start_mlflow_server(tmp_path).address
    try:
        tracker: QueueTracker = MlflowTracker(uri, "share", tmp_path / "lock")
        if several:
            others = TensorBoardTracker("share"), WandbTracker("share", "offline")
            tracker = CombinedTracker((tracker, *others))
            started = Timed(tracker, tmp_path / "started")
            started.log_metrics({"loss": 1.0}, 1)
            started.finish("finished")
            print(f"{started.finish_s:.2f} s of CPU to start")
        log = Timed(tracker, tmp_path / "spool")
        began = time.monotonic()
        train_run(RunSpec(recipe, store.folder, tmp_path / "run"), log, lambda _: True)
        took = time.monotonic() - began
        print(f"{log.seconds:.2f} s in calls, {log.cpu_s:.2f} s in threads, of {took:.1f} s")
        assert log.points > steps / 10
        assert log.seconds + log.cpu_s < 0.02 * took
    finally:
        server.stop_mlflow_server(tmp_path)


class Timed:
    """A run's log with a clock beside it."""

    def __init__(self, logs: QueueTracker, folder: Path) -> None:
        self._log = logs.open_run_logger(RunIdentifiers("t", "t"), folder)
        self.log_params, self.log_artifact, self.log_dataset = (
            self._log.log_params,
            self._log.log_artifact,
            self._log.log_dataset,
        )
        self.seconds = self.cpu_s = self.finish_s = 0.0
        self.points = 0

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Passes it on."""
        began = time.perf_counter()
        self._log.log_metrics(values, step)
        self.seconds += time.perf_counter() - began
        self.points += 1

    def finish(self, status: str) -> None:
        """Reads the threads' clocks before they are gone."""
        ours = {
            t.native_id
            for t in threading.enumerate()
            if t.name in ("kinesweep-tracking", "system monitor") or "wandb" in t.name
        }
        threads = psutil.Process().threads()
        self.cpu_s = sum(t.user_time + t.system_time for t in threads if t.id in ours)
        before = time.process_time()
        self._log.finish(status)
        self.finish_s = time.process_time() - before
