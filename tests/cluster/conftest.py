"""A Ray of this test run alone: on loopback, with a token of its own, two cores.

Ray reads its authentication when it is first imported, so the environment is set up here, at
import.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_TOKEN = Path(tempfile.mkdtemp(prefix="kinesweep-ray-")) / "token"
_TOKEN.write_text("0" * 64)
os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN_PATH": str(_TOKEN),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT / "tests")]),
}
os.environ.pop("RAY_ADDRESS", None)


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Ray with two cores and a dashboard, which cleans up after killed trials."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=True, log_to_driver=False)
    # State queries of Ray's own helpers look here first, and then for a cluster of somebody else.
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    yield
    ray.shutdown()
    del os.environ["RAY_ADDRESS"]
