"""SQLite is kept off network file systems."""

from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from kinesweep.core.errors import TrackingError
from kinesweep.core.paths import get_network_filesystem
from kinesweep.tracking.server import start_mlflow_server

Disk = namedtuple("Disk", "mountpoint fstype")


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder over the network, with a local disk in it."""
    real = tmp_path.resolve()
    disks = [Disk("/", "ext4"), Disk(str(real), "nfs4"), Disk(str(real / "local"), "xfs")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: disks)
    return tmp_path


def test_the_nearest_mount_decides(mounts: Path) -> None:
    assert get_network_filesystem(mounts / "not/there/yet") == "nfs4"
    assert get_network_filesystem(mounts / "local/deep") == ""
    assert get_network_filesystem(Path("/etc")) == ""


def test_a_server_on_sqlite_there_is_refused(mounts: Path) -> None:
    for store in (None, "sqlite", f"sqlite:///{mounts / 'x.db'}"):
        with pytest.raises(TrackingError, match=r"network file system \(nfs4\).*postgresql"):
            start_mlflow_server(mounts / "home", backend_store=store)
