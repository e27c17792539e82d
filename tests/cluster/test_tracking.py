"""Run logs against a real MLflow server: every point arrives once, whatever dies in between."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from kinesweep.tracking import server, system_monitor
from kinesweep.tracking.backends import QUEUE_FILE, MlflowTracker
from kinesweep.tracking.mlflow_client import RUN_KEY_TAG, MlflowServerClient
from kinesweep.tracking.queued_run_logger import RunIdentifiers

KEYS = ("loss", "bleu")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    server.start_mlflow_server(home)
    yield home
    server.stop_mlflow_server(home)


@pytest.fixture
def logs(home, request):
    """An experiment of its own for each test."""
    address = server.start_mlflow_server(home).address
    return MlflowTracker(address, request.node.name, home / "services" / "tracking.lock")


class Seen:
    """What the server holds of an experiment."""

    def __init__(self, logs):
        self.client = MlflowClient(logs.uri)
        self.experiment = self.client.get_experiment_by_name(logs.experiment).experiment_id

    def runs(self, key=None):
        where = f"tags.`{RUN_KEY_TAG}` = '{key}'" if key else ""
        return self.client.search_runs([self.experiment], where)

    def run(self, key):
        (run,) = self.runs(key)
        return run

    def steps(self, key, metric):
        points = self.client.get_metric_history(self.run(key).info.run_id, metric)
        return Counter(point.step for point in points)


def record(log, steps):
    for step in steps:
        log.log_metrics({"loss": 1 / (step + 1), "bleu": float(step)}, step)


def once(seen, key, steps):
    expected = Counter(dict.fromkeys(steps, 1))
    return all(seen.steps(key, metric) == expected for metric in KEYS)


WRITER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from kinesweep.tracking.backends import MlflowTracker
    from kinesweep.tracking.queued_run_logger import RunIdentifiers

    uri, experiment, lock, folder, key, first, last, pause, parent = sys.argv[1:]
    log = MlflowTracker(uri, experiment, Path(lock)).open_run_logger(
        RunIdentifiers(key, key, {"phase": "test"}, parent or None), Path(folder)
    )
    log.log_params({"a": 1})
    for step in range(int(first), int(last)):
        log.log_metrics({"loss": 1 / (step + 1), "bleu": float(step)}, step)
        print(step, flush=True)
        time.sleep(float(pause))
    log.finish("finished")
    """
)


def write_apart(logs, folder, key, first, last, pause_s=0.0, parent=""):
    """The same in a process of its own, which says each step."""
    arguments = (
        logs.uri,
        logs.experiment,
        logs.lock_path,
        folder,
        key,
        first,
        last,
        pause_s,
        parent,
    )
    platform = Path(server.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(platform)}
    command = [sys.executable, "-c", WRITER, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def test_a_run_arrives_whole(logs, tmp_path):
    sentences = tmp_path / "validation.tsv"
    sentences.write_text("id\thypothesis\n")
    log = logs.open_run_logger(
        RunIdentifiers("r", "first run", {"seed": "3"}, parent="sweep"), tmp_path
    )
    log.log_params({"training.learning_rate": 1e-4, "model.name": "m2m", "batch.batch_size": None})
    log.log_params({"model.name": "another"})
    record(log, range(10))
    log.log_dataset("sample", "f" * 64)
    log.log_artifact(sentences)
    log.finish("finished")

    seen = Seen(logs)
    run = seen.run("r")
    assert run.data.params == {
        "training.learning_rate": "0.0001",
        "model.name": "m2m",
        "batch.batch_size": "null",
    }
    assert once(seen, "r", range(10))
    assert run.info.status == "FINISHED" and run.info.run_name == "first run"
    assert run.data.tags["seed"] == "3"
    assert run.info.start_time <= run.info.end_time
    assert run.data.tags["mlflow.parentRunId"] == seen.run("sweep").info.run_id
    assert "f" * 64 in run.inputs.dataset_inputs[0].dataset.source
    kept = [a.path for a in seen.client.list_artifacts(run.info.run_id)]
    assert kept == ["validation.json", "validation.tsv"]  # the table, and the file itself


@pytest.mark.parametrize("status, shown", [("pruned", "KILLED"), ("failed", "FAILED")])
def test_the_end_is_shown(logs, tmp_path, status, shown):
    log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    record(log, range(2))
    log.finish(status)
    run = Seen(logs).run("r")
    assert (run.info.status, run.data.tags["kinesweep.status"]) == (shown, status)


def test_a_stopped_run_goes_on_as_the_same_run(logs, tmp_path):
    for steps, status in ((range(5), "stopped"), (range(3, 9), "finished")):
        log = logs.open_run_logger(RunIdentifiers("r", "r", {"phase": "search"}), tmp_path)
        log.log_params({"a": 1})
        record(log, steps)
        log.finish(status)
    seen = Seen(logs)
    assert once(seen, "r", range(9))
    assert seen.run("r").info.status == "FINISHED"


@pytest.mark.slow
def test_points_are_kept_while_the_server_is_away(logs, home, tmp_path):
    log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    record(log, range(5))
    _until(lambda: _has_run(logs, "r"))
    assert server.stop_mlflow_server(home)
    began = time.monotonic()
    record(log, range(5, 200))
    assert time.monotonic() - began < 2.0
    assert server.start_mlflow_server(home).address == logs.uri
    record(log, range(200, 205))
    log.finish("finished")
    if logs.flush_pending(
        tmp_path
    ):  # the thread was still waiting out a failure when the run ended
        assert logs.flush_pending(tmp_path) == 0
    assert once(Seen(logs), "r", range(205))


@pytest.mark.slow
def test_a_run_that_ends_without_the_server_is_replayed(logs, home, tmp_path):
    server.stop_mlflow_server(home)
    log = logs.open_run_logger(
        RunIdentifiers("r", "r", {"phase": "search"}), tmp_path / "runs" / "r"
    )
    record(log, range(20))
    began = time.monotonic()
    log.finish("finished")
    assert time.monotonic() - began < 10.0
    assert logs.flush_pending(tmp_path) > 0
    server.start_mlflow_server(home)
    assert logs.flush_pending(tmp_path) == 0
    seen = Seen(logs)
    assert once(seen, "r", range(20)) and seen.run("r").info.status == "FINISHED"
    assert logs.flush_pending(tmp_path) == 0 and once(seen, "r", range(20))


@pytest.mark.parametrize("kill_at", [0, 7, 25])
def test_a_killed_writer_loses_and_repeats_nothing(logs, tmp_path, kill_at):
    writer = write_apart(logs, tmp_path, "r", 0, 1000, pause_s=0.1)
    for line in writer.stdout:
        if int(line) >= kill_at:
            break
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    again = write_apart(logs, tmp_path, "r", max(0, kill_at - 5), 40)
    assert again.wait(60) == 0
    assert once(Seen(logs), "r", range(40))


@pytest.mark.slow
def test_a_killed_writer_and_a_killed_server(logs, home, tmp_path):
    writer = write_apart(logs, tmp_path, "r", 0, 1000, pause_s=0.1)
    for line in writer.stdout:
        if int(line) == 15:
            service = server.find_running_mlflow_server(home)
            os.killpg(service.pid, signal.SIGKILL)
        if int(line) == 25:
            break
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    server.start_mlflow_server(home)
    assert write_apart(logs, tmp_path, "r", 10, 40).wait(60) == 0
    assert once(Seen(logs), "r", range(40))


@pytest.mark.slow
def test_writers_side_by_side_share_one_parent(logs, tmp_path):
    writers = [
        write_apart(logs, tmp_path / str(n), f"r{n}", 0, 300, parent="/s/weeks sweep's")
        for n in range(4)
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    seen = Seen(logs)
    assert all(once(seen, f"r{n}", range(300)) for n in range(4))
    parents = {seen.run(f"r{n}").data.tags["mlflow.parentRunId"] for n in range(4)}
    assert len(parents) == 1 and len(seen.runs()) == 5


def test_processes_that_make_a_run_at_once_make_one(logs):
    wires = [MlflowServerClient(logs.uri) for _ in range(6)]
    experiment = wires[0].get_or_create_experiment(logs.experiment)
    together = threading.Barrier(len(wires))

    def make(wire):
        together.wait()
        return wire.get_or_create_parent_run(experiment, "sweep", logs.lock_path)

    with ThreadPoolExecutor(len(wires)) as pool:
        assert len(set(pool.map(make, wires))) == 1
    assert len(Seen(logs).runs()) == 1


def test_what_is_sent_twice_is_there_once(logs, tmp_path):
    log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    record(log, range(20))
    _until(lambda: not log._queue.get_pending_records())
    spool = (tmp_path / QUEUE_FILE).read_text().splitlines(keepends=True)
    log.finish("finished")
    # As if the process had died before it could note the answer.
    (tmp_path / QUEUE_FILE).write_text("".join(line for line in spool if '"sent"' not in line))
    time.sleep(0.01)
    assert logs.flush_pending(tmp_path) == 0
    assert once(Seen(logs), "r", range(20))


def test_a_sweeps_own_log_takes_over_what_its_runs_began(logs, tmp_path):
    child = logs.open_run_logger(RunIdentifiers("r", "r", parent="sweep"), tmp_path / "r")
    child.log_params({"a": 1})
    child.finish("finished")
    parent = logs.open_run_logger(
        RunIdentifiers("sweep", "The question?", {"phase": "sweep"}), tmp_path
    )
    parent.finish("finished")
    seen = Seen(logs)
    assert seen.run("sweep").info.run_name == "The question?"
    assert seen.run("r").data.tags["mlflow.parentRunId"] == seen.run("sweep").info.run_id


def test_what_is_overwritten_becomes_another_run(logs, tmp_path):
    for anew, steps in ((False, range(5)), (True, range(3))):
        log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path, overwrite=anew)
        record(log, steps)
        log.finish("finished")
    (tmp_path / QUEUE_FILE).unlink()  # the folder was removed
    log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    record(log, range(4))
    log.finish("finished")
    seen = Seen(logs)
    assert once(seen, "r", range(4)) and len(seen.runs()) == 3


def test_a_run_that_was_deleted_is_made_again(logs, tmp_path):
    log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    record(log, range(5))
    _until(lambda: _has_run(logs, "r"))
    seen = Seen(logs)
    seen.client.delete_run(seen.run("r").info.run_id)
    record(log, range(5, 10))
    log.finish("stopped")
    log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    record(log, range(10, 12))
    log.finish("finished")
    steps = seen.steps("r", "loss")
    assert set(steps) >= {10, 11} and max(steps.values()) == 1


def test_one_refused_value_does_not_hold_up_the_rest(logs, tmp_path, caplog):
    log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    log.log_params({"good": 1})
    log._queue.append("params", {"": "no name", "fine": "1"})
    log._queue.append("metrics", {"x" * 400: 1.0, "loss": 1.0}, 0)
    log.log_metrics({"odd name/with: signs?": 2.0, "nan": float("nan")}, 1)
    log.finish("finished")
    run = Seen(logs).run("r")
    assert run.data.params == {"good": "1", "fine": "1"}
    assert set(run.data.metrics) == {"loss", "odd name/with_ signs_", "nan"}
    assert run.info.status == "FINISHED"
    assert len([r for r in caplog.records if "refused" in r.message]) == 2


def test_more_than_a_call_can_carry(logs, tmp_path):
    log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    log.log_params({f"p{n}": n for n in range(250)})
    log.log_metrics({f"m{n}": float(n) for n in range(1500)}, 1)
    log.finish("finished")
    run = Seen(logs).run("r")
    assert len(run.data.params) == 250 and len(run.data.metrics) == 1500


def _has_run(logs, key):
    found = MlflowClient(logs.uri).get_experiment_by_name(logs.experiment)
    return found is not None and "loss" in _metrics(Seen(logs), key)


def _metrics(seen, key):
    return seen.runs(key)[0].data.metrics if seen.runs(key) else {}


def _until(true, timeout_s=30.0):
    give_up = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_predictions_are_a_table(logs, tmp_path):
    """As MLflow's interface shows tables; also when they are sent again."""
    path = tmp_path / "validation.tsv"
    path.write_text('id\thypothesis\treference\na\t"he said ""hi"""\tbye\n')
    log = logs.open_run_logger(RunIdentifiers("t", "t"), tmp_path)
    log.log_artifact(path)
    log.log_artifact(path)
    log.finish("finished")
    run = Seen(logs).run("t")
    table = MlflowClient(logs.uri)
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [
        {"path": "validation.json", "type": "table"}
    ]
    kept = Path(table.download_artifacts(run.info.run_id, "validation.json", str(tmp_path)))
    assert json.loads(kept.read_text()) == {
        "columns": ["id", "hypothesis", "reference"],
        "data": [["a", 'he said "hi"', "bye"]],
    }


def test_the_machine_is_watched(logs, tmp_path):
    """Steps of the system's metrics go on over a resume."""
    for status in ("stopped", "finished"):
        noted = []
        log = logs.open_run_logger(RunIdentifiers("w", "w"), tmp_path)
        log.log_metrics({"loss": 1.0}, 1)

        def note(values, log=log, noted=noted):
            log._log_system_metrics(values)
            noted.append(values)

        monitor = system_monitor.SystemMonitor(note, interval_s=0.2)
        while len(noted) < 2:
            time.sleep(0.1)
        monitor.stop()
        log.finish(status)
    steps = Seen(logs).steps("w", "system/cpu_utilization_percentage")
    assert set(steps) == set(range(len(steps)))
    assert len(steps) >= 4
    assert set(steps.values()) == {1}
