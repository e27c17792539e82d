"""Processes that outlive their starter: found, told apart, stopped with their children."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kinesweep.core.errors import TrackingError
from kinesweep.tracking import background_process

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c',"
    " 'import time; time.sleep(60)']); print(c.pid, flush=True); time.sleep(60)",
]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
    " time.sleep(60)",
]


def started(home, command, name="thing"):
    with background_process.hold_service_lock(home, name):
        service = background_process.start_service(
            home, name, command, "127.0.0.1:1", {"MARK": "1"}
        )
    background_process.wait_until_ready(
        service, lambda: background_process.read_log_tail(_log(service)) != "", 20
    )
    return service


def _log(service):
    return Path(service.log)


def test_a_service_is_found_again_and_stopped(tmp_path):
    service = started(tmp_path, SLEEP)
    assert background_process.read_service_record(tmp_path, "thing") == service and service.is_alive
    assert background_process.stop_service(service)
    assert not service.is_alive and not background_process.stop_service(service)


def test_children_go_with_it_also_when_it_died_first(tmp_path):
    for dies_first in (False, True):
        service = started(tmp_path, PARENT, f"thing-{dies_first}")
        child = psutil.Process(int(background_process.read_log_tail(_log(service))))
        if dies_first:
            os.kill(service.pid, signal.SIGKILL)
            _until(lambda service=service: not service.is_alive)
        assert child.is_running()
        assert background_process.stop_service(service)
        _until(lambda child=child: not _runs(child))


def test_one_that_does_not_listen_is_killed(tmp_path):
    service = started(tmp_path, STUBBORN)
    assert background_process.stop_service(service, timeout_s=0.5) and not service.is_alive


def test_a_pid_that_was_used_again_is_left_alone(tmp_path):
    other = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        stale = background_process.BackgroundService(
            "thing", other.pid, 1000.0, "127.0.0.1:1", str(tmp_path / "log")
        )
        assert not stale.is_alive and not background_process.stop_service(stale)
        assert other.poll() is None
        began = psutil.Process(other.pid).create_time()
        assert replace(stale, started=began).is_alive
    finally:
        other.kill()
        other.wait()


def test_one_that_ends_at_once_is_an_error_with_its_log(tmp_path):
    service = background_process.start_service(
        tmp_path, "thing", [sys.executable, "-c", "print(1 // 0)"], "nowhere"
    )
    with pytest.raises(TrackingError, match=r"(?s)thing server exited.*ZeroDivisionError"):
        background_process.wait_until_ready(service, lambda: False, 20)


def test_one_that_never_answers_is_stopped(tmp_path):
    service = background_process.start_service(tmp_path, "thing", SLEEP, "nowhere")
    with pytest.raises(TrackingError, match=r"did not answer within 0\.5 s"):
        background_process.wait_until_ready(service, lambda: False, 0.5)
    assert not service.is_alive


def test_a_damaged_record_is_no_record(tmp_path):
    path = background_process.get_service_record_path(tmp_path, "thing")
    path.parent.mkdir()
    path.write_text("{")
    assert background_process.read_service_record(tmp_path, "thing") is None


def _runs(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(true, timeout_s=10.0):
    give_up = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.05)
