"""Runs in W&B, offline and against a server: each point once, whatever dies in between."""

import json
import logging
import os
import socket
import time
from pathlib import Path

import psutil
import pytest

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.backends import (
    QUEUE_FILE,
    CombinedTracker,
    TensorBoardTracker,
    WandbTracker,
)
from kinesweep.tracking.queued_run_logger import RunIdentifiers
from kinesweep.tracking.resolution import resolve_tracker
from kinesweep.tracking.wandb import run_settings, sender
from kinesweep.tracking.wandb.transaction_log import read_history
from tracked import expected_points, once, tensorboard_points, wandb_points, write_apart
from wandb_server import KEY, WandbServer, serving

OFFLINE = WandbTracker("How?", "offline")
NAME = RunIdentifiers("/sweeps/s/runs/abc-s3", "trial 1", {"config_hash": "abc", "seed": "3"})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with serving(WandbServer()) as server:
        yield server


def online(server):
    return WandbTracker("How?", "online", server.url)


def record(tracker, folder, steps, status="finished", name=NAME):
    log = tracker.open_run_logger(name, folder)
    for step in steps:
        log.log_metrics({"loss": 1 / (step + 1)}, step)
    log.finish(status)


def steps_of(folder):
    return sorted(step for (_, step), values in wandb_points(folder).items() for _ in values)


def _until(true, timeout_s=30.0):
    give_up = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_w_and_b_and_tensorboard_hold_each_point_once_after_a_kill(tmp_path):
    """Killed while W&B's own process still writes, resumed with steps that were recorded."""
    both = CombinedTracker((TensorBoardTracker("How?"), OFFLINE))
    writer = write_apart(both, tmp_path, 0, 40, pause_s=0.0, wait_s=60)
    for line in writer.stdout:
        if int(line) == 39:
            break
    # W&B has a folder, and TensorBoard points, that the next process must not add to.
    _until(lambda: list(tmp_path.glob("wandb/offline-run-*/*.wandb")))
    _until(lambda: (tmp_path / QUEUE_FILE).read_text().count('"tensorboard"') >= 2)
    writer.kill()
    writer.wait()
    assert write_apart(both, tmp_path, 20, 60).wait(60) == 0
    assert wandb_points(tmp_path) == expected_points(60)
    assert once(tensorboard_points(tmp_path), expected_points(60))
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1


def test_a_killed_run_is_written_by_the_next_command(tmp_path):
    """Without a resume, too: a sweep may give a run up."""
    writer = write_apart(OFFLINE, tmp_path / "r", 0, 1000, pause_s=0.05)
    for line in writer.stdout:
        if int(line) == 5:
            break
    writer.kill()
    writer.wait()
    assert OFFLINE.flush_pending(tmp_path) == 0
    lines = (tmp_path / "r" / QUEUE_FILE).read_text().splitlines()
    recorded = sum("metrics" in json.loads(line) for line in lines)
    assert len(wandb_points(tmp_path / "r")) == recorded >= 6
    folders = list((tmp_path / "r" / "wandb").glob("offline-run-*"))
    assert OFFLINE.flush_pending(tmp_path) == 0
    assert list((tmp_path / "r" / "wandb").glob("offline-run-*")) == folders


def test_rows_that_were_uploaded_are_not_written_again(tmp_path):
    record(OFFLINE, tmp_path, range(5), "stopped")
    (log,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    log.with_suffix(".wandb.synced").touch()
    record(OFFLINE, tmp_path, range(3, 9))
    assert steps_of(tmp_path) == list(range(9))
    rows = [read_history(path) for path in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))]
    assert [[row["_step"] for row in part] for part in rows] == [[*range(5)], [*range(5, 9)]]


@pytest.mark.parametrize("num_arrived", [0, 7, 20])
def test_a_resumed_run_goes_on_where_the_server_is(server, tmp_path, num_arrived):
    """As after a kill: some rows have arrived, and nobody noted which."""
    record(online(server), tmp_path, range(20), "stopped")
    ((run_id, run),) = server.runs.items()
    run["rows"][num_arrived:] = []
    path = tmp_path / QUEUE_FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"mark"' not in line))
    record(online(server), tmp_path, range(15, 30))
    assert list(server.runs) == [run_id]
    assert [row["_step"] for row in run["rows"]] == list(range(30))
    assert [row["optimizer_step"] for row in run["rows"]] == list(range(30))
    before = path.stat().st_size
    assert online(server).flush_pending(tmp_path) == 0
    assert path.stat().st_size == before, "the server has everything"


@pytest.mark.slow
def test_a_killed_run_goes_on_where_the_server_is(server, tmp_path):
    """W&B sends for the first time after 15 s."""
    writer = write_apart(online(server), tmp_path, 0, 40, wait_s=60)
    _until(lambda: any(run["rows"] for run in server.runs.values()))
    writer.kill()
    writer.wait()
    assert write_apart(online(server), tmp_path, 20, 60).wait(60) == 0
    (run,) = server.runs.values()
    assert [row["_step"] for row in run["rows"]] == list(range(len(run["rows"])))
    found = {
        (name, row["optimizer_step"]): [row[name]]
        for row in run["rows"]
        for name in ("loss", "bleu")
        if name in row
    }
    assert found == expected_points(60)
    assert run["exit_code"] == 0


@pytest.mark.slow
def test_a_server_that_is_away_neither_stops_nor_slows_a_run(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(run_settings, "_INIT_TIMEOUT_S", 3.0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    away = WandbTracker("How?", "online", f"http://127.0.0.1:{port}")
    began = time.monotonic()
    log = away.open_run_logger(NAME, tmp_path)
    for step in range(200):
        log.log_metrics({"loss": 1 / (step + 1)}, step)
    assert time.monotonic() - began < 1.0
    with caplog.at_level(logging.WARNING):
        log.finish("finished")
    assert time.monotonic() - began < 30.0
    told = [record.message for record in caplog.records if record.name.startswith("kinesweep")]
    assert len(told) <= 2 and "records are queued" in told[-1]
    # The second run is not tried once the first one has failed.
    record(away, tmp_path / "second", range(3))
    began = time.monotonic()
    assert away.flush_pending(tmp_path) >= 203
    assert time.monotonic() - began < 12.0
    with serving(WandbServer(port)) as server:
        assert away.flush_pending(tmp_path) == 0
        counts = sorted(len(run["rows"]) for run in server.runs.values())
        assert counts == [3, 200]


def test_a_run_that_was_begun_online_waits_for_the_server(server, tmp_path, caplog):
    """Offline it is unknown which rows the server has."""
    record(online(server), tmp_path, range(3), "stopped")
    record(OFFLINE, tmp_path, range(2, 6), "stopped")
    assert not wandb_points(tmp_path) and "begun online" in caplog.text
    record(online(server), tmp_path, range(5, 8))
    (run,) = server.runs.values()
    assert [row["optimizer_step"] for row in run["rows"]] == list(range(8))


def test_what_a_run_is_called(server, tmp_path):
    name = RunIdentifiers(NAME.key, "trial 1", {**NAME.tags, "phase": "search"}, parent="/sweeps/s")
    record(online(server), tmp_path, range(2), "failed", name)
    record(online(server), tmp_path, range(2, 4), "finished", name)
    ((run_id, run),) = server.runs.items()
    assert run_id.startswith("abc-s3-")
    settings = run["settings"]
    assert (settings["project"], settings["displayName"]) == ("How-", "trial 1")
    assert (settings["groupName"], settings["jobType"]) == ("s", "search")
    assert set(settings["tags"]) == {"config_hash:abc", "seed:3", "phase:search"}
    log = online(server).open_run_logger(name, tmp_path, overwrite=True)
    log.log_metrics({"loss": 1.0}, 0)
    log.finish("failed")
    assert len(server.runs) == 2 and server.runs[run_id]["rows"][-1]["optimizer_step"] == 3
    assert [run["exit_code"] for run in server.runs.values()] == [0, 1]


def test_a_sweep_is_a_run_of_its_own_group():
    header = {"key": "/sweeps/s", "life": "1", "parent": None, "title": "sweep s"}
    header |= {"experiment": "x" * 200, "swept_params": {"a": "number"}}
    named = run_settings.make_init_arguments(header, {}, Path("/sweeps/s"), "offline")
    assert (named["group"], named["job_type"]) == ("s", "sweep")
    assert len(named["project"]) == 128 and named["id"].startswith("s-")


def test_files_and_settings_go_along_and_no_variable_does(monkeypatch, server, tmp_path):
    monkeypatch.setenv("PRIVATE_VARIABLE", "very secret words")
    table = tmp_path / "validation.tsv"
    table.write_text("id\thypothesis\na\tb\n")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("<p>")
    for tracker, folder in ((online(server), tmp_path / "a"), (OFFLINE, tmp_path / "b")):
        log = tracker.open_run_logger(NAME, folder)
        log.log_params({"training.learning_rate": 1e-4, "model.name": "m2m"})
        log.log_dataset("sample", "f" * 64)
        for path in (table, tmp_path / "report", tmp_path / "not there"):
            log.log_artifact(path)
        log.log_metrics({"loss": 1.0}, 1)
        log.finish("finished")
    (run,) = server.runs.values()
    config = json.loads(run["settings"]["config"])
    assert config["training.learning_rate"]["value"] == 1e-4
    assert config["dataset.digest"]["value"] == "f" * 64
    assert run["files"]["validation.tsv"] == table.read_bytes()
    assert run["files"]["report/index.html"] == b"<p>"
    (files,) = (tmp_path / "b").glob("wandb/offline-run-*/files")
    assert (files / "validation.tsv").read_bytes() == table.read_bytes()
    assert not (files / "validation.tsv").is_symlink()
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"very secret words" in each for each in written)
    assert "very secret words" not in json.dumps(run, default=str)


def test_no_process_is_left_and_none_is_stopped_that_is_used(tmp_path):
    """A sweep's own log stays open while runs in the same process come and go."""

    def services():
        children = psutil.Process().children(recursive=True)
        return [each for each in children if "wandb-core" in each.name()]

    outer = OFFLINE.open_run_logger(RunIdentifiers("sweep", "sweep"), tmp_path)
    outer.log_metrics({"loss": 1.0}, 0)
    _until(services)
    record(OFFLINE, tmp_path / "r", range(3))
    assert services()
    outer.log_metrics({"loss": 0.5}, 1)
    outer.finish("finished")
    assert not services()
    assert steps_of(tmp_path) == [0, 1] and steps_of(tmp_path / "r") == [0, 1, 2]


def test_a_stop_in_the_interface_does_not_interrupt_training():
    settings = run_settings.make_settings("")
    assert settings.stop_fn() is None
    assert settings.console == "off" and settings.x_disable_meta and settings.x_disable_stats


@pytest.mark.parametrize("mode", ["shared", "disabled"])
def test_modes_that_record_nothing_are_refused(monkeypatch, tmp_path, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(TrackingError, match=mode):
        resolve_tracker("wandb", tmp_path, "q")


def test_a_key_is_demanded_before_the_first_trial(monkeypatch, tmp_path):
    with pytest.raises(TrackingError, match="WANDB_MODE=offline"):
        resolve_tracker(("tensorboard", "wandb"), tmp_path, "q")
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(TrackingError, match="invalid"):
        resolve_tracker("wandb", tmp_path, "q")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    # No server is asked: it may be away.
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    found = resolve_tracker(("wandb", "tensorboard"), tmp_path, "q")
    assert [each.consumer for each in found.members] == ["wandb", "tensorboard"]
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert resolve_tracker("wandb", tmp_path, "q") == WandbTracker(
        "q", "offline", "http://127.0.0.1:9"
    )


def test_a_missing_package_names_its_extra(monkeypatch, tmp_path):
    from kinesweep.tracking import resolution

    monkeypatch.setattr(resolution, "find_spec", lambda name: None)
    for name in ("wandb", "tensorboard"):
        with pytest.raises(TrackingError, match=rf"pip install 'kinesweep\[{name}\]'"):
            resolve_tracker(name, tmp_path, "q")


def test_metrics_have_their_step_as_axis_and_infinities_arrive(tmp_path):
    log = OFFLINE.open_run_logger(NAME, tmp_path)
    log.log_metrics({"loss": float("inf"), "bleu": float("nan")}, 7)
    log.log_metrics({"late": 1.0}, 2)
    log._log_system_metrics({"system/cpu": 3.0})
    log.finish("finished")
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    first, second, system = read_history(path)
    assert first["loss"] == float("inf") and first["bleu"] != first["bleu"]
    assert (first[sender.STEP_METRIC], second[sender.STEP_METRIC]) == (7, 2)
    assert system[sender.SYSTEM_STEP_METRIC] == 0 and sender.STEP_METRIC not in system
    assert os.path.getsize(path) > 0
