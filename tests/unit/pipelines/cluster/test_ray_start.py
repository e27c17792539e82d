"""A start of Ray that takes longer than Ray waits, with a process that stands for its node."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from kinesweep.core.errors import ResourceError
from kinesweep.pipelines.cluster.ray_start import initialize_ray

TIMEOUT = "The current node timed out during startup. This could happen because …"


class SlowRay:
    """A `ray.init` whose node starts and is not ready in time."""

    def __init__(self, attempts: int, message: str = TIMEOUT) -> None:
        self.attempts, self.message = attempts, message
        self.nodes: list[subprocess.Popen[bytes]] = []

    def __call__(self, **_: Any) -> None:
        folder = Path(ray.__file__).parent
        # It takes the place of a raylet, whose command names Ray's folder.
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        command = [*sleep, str(folder / "core/src/ray/raylet/raylet")]
        self.nodes.append(subprocess.Popen(command))
        if len(self.nodes) <= self.attempts:
            raise Exception(self.message)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A child process that is not Ray's."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_slow_start_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stranger: subprocess.Popen[bytes],
) -> None:
    slow = SlowRay(attempts=2)
    monkeypatch.setattr(ray, "init", slow)
    initialize_ray({"address": "local"})
    assert len(slow.nodes) == 3
    assert [psutil.pid_exists(node.pid) for node in slow.nodes] == [False, False, True]
    assert stranger.poll() is None
    assert "attempt 2 of 3" in caplog.text
    slow.nodes[2].kill()
    slow.nodes[2].wait(5)


def test_three_attempts_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowRay(attempts=9)
    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(ResourceError, match=r"in 3 attempts.* run the command again"):
        initialize_ray({})
    assert len(slow.nodes) == 3
    assert not any(psutil.pid_exists(node.pid) for node in slow.nodes)


def test_other_errors_are_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowRay(attempts=9, message="no such address")
    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(Exception, match="no such address"):
        initialize_ray({})
    assert len(slow.nodes) == 1
    slow.nodes[0].kill()
    slow.nodes[0].wait(5)
