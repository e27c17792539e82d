"""Which server is meant, and what happens to a run whose server is not there."""

import logging
import pickle
import socket
import time

import pytest

from kinesweep.core.errors import TrackingError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.tracking import backends, server
from kinesweep.tracking.backends import QUEUE_FILE, MlflowTracker, NullTracker
from kinesweep.tracking.mlflow_limits import format_param_value, sanitize_key, sanitize_run_key
from kinesweep.tracking.offline_queue import QueuedRecord
from kinesweep.tracking.queued_run_logger import RunIdentifiers
from kinesweep.tracking.resolution import resolve_tracker
from kinesweep.tracking.uploader import _group_records


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def nobody():
    """An address at which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_none_and_no_server(tmp_path):
    assert resolve_tracker("none", tmp_path, "q") == NullTracker()
    found = resolve_tracker("auto", tmp_path, "q")
    assert isinstance(found, NullTracker) and "kinesweep up" in found.notice
    assert isinstance(found.open_run_logger(RunIdentifiers("r", "r"), tmp_path), NullRunLogger)
    with pytest.raises(TrackingError, match="kinesweep up"):
        resolve_tracker("mlflow", tmp_path, "q")


def test_a_server_that_is_away_is_used_unless_it_is_demanded(tmp_path, monkeypatch, nobody):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody + "/")
    found = resolve_tracker("auto", tmp_path, "q")
    assert isinstance(found, MlflowTracker) and found.uri == nobody
    assert "does not answer" in found.notice
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        resolve_tracker("mlflow", tmp_path, "q")


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "mlruns", "databricks"])
@pytest.mark.parametrize("wanted", ["auto", "mlflow"])
def test_only_servers_are_spoken_to(tmp_path, monkeypatch, uri, wanted):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=uri):
        resolve_tracker(wanted, tmp_path, "q")


def test_a_run_without_its_server_is_neither_stopped_nor_slowed(tmp_path, nobody, caplog):
    logs = pickle.loads(pickle.dumps(MlflowTracker(nobody, "q", tmp_path / "lock")))
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        log = logs.open_run_logger(RunIdentifiers("r", "r", {"phase": "search"}), tmp_path)
        log.log_params({"a": 1})
        for step in range(1000):
            log.log_metrics({"loss": 1.0, "bleu": 2.0}, step)
        log.log_artifact(tmp_path / "not there")
        log.log_dataset("d", "0" * 64)
        assert time.monotonic() - began < 2.0
        log.finish("finished")
    assert time.monotonic() - began < 20.0
    assert (tmp_path / QUEUE_FILE).read_text().count('"metrics"') == 1000
    warned = [record.message for record in caplog.records]
    assert len(warned) == 2 and "records are queued" in warned[1]
    assert logs.flush_pending(tmp_path) == 1005


def test_a_step_is_recorded_once(tmp_path, nobody):
    logs = MlflowTracker(nobody, "q", tmp_path / "lock")
    for steps in (range(5), range(3, 8)):
        log = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
        for step in steps:
            log.log_metrics({"loss": 1.0}, step)
        log.log_metrics({"samples": 1.0}, steps[-1])
        log.log_metrics({"samples": 1.0}, steps[-1])
        log.finish("stopped")
    lines = (tmp_path / QUEUE_FILE).read_text().splitlines()
    assert sum('"loss"' in line for line in lines) == 8
    assert sum('"samples"' in line for line in lines) == 2


def test_a_taken_port_is_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(TrackingError, match="taken"):
            server.start_mlflow_server(tmp_path, port=taken.getsockname()[1])
    assert server.find_running_mlflow_server(tmp_path) is None and not server.stop_mlflow_server(
        tmp_path
    )


def test_names_and_values_in_mlflows_words():
    assert sanitize_key("model.encoder.dropout") == "model.encoder.dropout"
    assert (
        sanitize_key("ü%") == "__"
        and sanitize_key("//") == "_"
        and len(sanitize_key("x" * 400)) == 250
    )
    assert [format_param_value(v) for v in ("a", 1e-4, None, True, [1])] == [
        "a",
        "0.0001",
        "null",
        "true",
        "[1]",
    ]
    assert len(format_param_value("x" * 9000)) <= 6000 and "9000" in format_param_value("x" * 9000)
    assert sanitize_run_key("/a b/c-s1") == "/a b/c-s1"
    assert sanitize_run_key("it's") != sanitize_run_key('it"s') and "'" not in sanitize_run_key(
        "it's"
    )


def test_both_kinds_answer_alike(tmp_path):
    for logs in (NullTracker(), MlflowTracker("http://127.0.0.1:9", "q", tmp_path / "lock")):
        as_protocol: backends.Tracker = logs
        assert as_protocol.notice == "" and as_protocol.flush_pending(tmp_path) == 0


def test_a_call_carries_what_mlflow_allows():
    records = [QueuedRecord("params", {f"p{n}": "1" for n in range(60)}, 0, 0, n) for n in range(3)]
    records += [
        QueuedRecord("metrics", {f"m{n}": 1.0 for n in range(480)}, 0, n, n) for n in range(5)
    ]
    records += [QueuedRecord("finish", {"status": "finished"}, 0, 0, 9)]
    assert [len(group) for group in _group_records(records)] == [1, 1, 2, 2, 2, 1]
    assert [record for group in _group_records(records) for record in group] == records
