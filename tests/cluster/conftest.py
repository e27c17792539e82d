"""A Ray of this test process alone: on loopback, with a token and a folder of its own, two cores.

Several test processes run side by side, each with its own Ray. What Ray shares between clusters of
one machine is separated here: the folder of its sockets and of the address of the latest cluster,
the token, and the memory monitor, which counts the whole machine and would kill workers of others.
Ray reads its authentication when it is first imported, so the environment is set up here, at
import.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

import worker_server

ROOT = Path(__file__).resolve().parents[2]
# Paths of Ray's sockets must be shorter than 108 characters.
_FOLDER = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
_TOKEN = _FOLDER / "token"
_TOKEN.write_text("0" * 64)
os.environ |= {
    "RAY_TMPDIR": str(_FOLDER),
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's workers are nice (15) to others; beside tests without Ray they would hardly run at all.
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN_PATH": str(_TOKEN),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Looking through the memory of all processes each 2.5 s takes a tenth of a core for each Ray.
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "PYTHONPATH": os.pathsep.join(
        map(str, [ROOT / "platform", ROOT / "tests", worker_server.START])
    ),
}
os.environ.pop("RAY_ADDRESS", None)


@pytest.fixture(scope="package", autouse=True)
def forked_workers() -> Iterator[None]:
    """Fork all workers that Rays of these tests start."""
    with worker_server.forked_workers():
        yield


@pytest.fixture(scope="package")
def cluster(forked_workers: None) -> Iterator[None]:
    """Ray with two cores and a dashboard, which cleans up after killed trials.

    It ends with the last test of this folder: idle it still takes a tenth of a core.
    """
    import ray
    from ray._private.node import Node

    # Nobody reads what workers print; looking for it takes 4 % of a core for each Ray.
    Node.start_log_monitor = lambda _: None  # type: ignore[method-assign]
    # Two heads that start at the same moment would choose the same ports.
    with FileLock(Path(tempfile.gettempdir()) / "kinesweep-tests-ray.lock"):
        ray.init(address="local", num_cpus=2, include_dashboard=True, log_to_driver=False)
    # State queries of Ray's own helpers look here first, and then for a cluster of somebody else.
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    yield
    ray.shutdown()
    del os.environ["RAY_ADDRESS"]


# By the seconds they take. Files with services of their own do not need the shared Ray.
_LONGEST_FIRST = ("test_slurm", "test_submit", "test_kills", "test_tracking_server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no core is idle at the end; the shared Ray comes last.

    Idle it takes a tenth of a core.
    """
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        if item.path.parent != here:
            return len(_LONGEST_FIRST) + 2
        if item.path.stem in _LONGEST_FIRST:
            return _LONGEST_FIRST.index(item.path.stem)
        return len(_LONGEST_FIRST) + ("cluster" in getattr(item, "fixturenames", ()))

    items.sort(key=place)


def pytest_sessionfinish() -> None:
    """Remove Ray's folder."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
