"""SQLite is kept off network file systems."""

from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from kinesweep.core.errors import TrackingError
from kinesweep.core.paths import get_network_filesystem
from kinesweep.tracking import server
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


def test_a_refused_database_does_not_become_the_default(mounts: Path) -> None:
    state_dir = mounts / "local" / "home"
    state_dir.mkdir(parents=True)
    (state_dir / "services").mkdir()
    with pytest.raises(TrackingError, match="network file system"):
        start_mlflow_server(state_dir, backend_store=f"sqlite:///{mounts / 'x.db'}")
    local = server._resolve_backend_store(state_dir, None, running=False)
    assert local == f"sqlite:///{state_dir / 'mlflow.db'}"


def test_no_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_is_port_free", lambda _: False)
    with pytest.raises(TrackingError, match="no port from 20000 to 31999"):
        server._choose_port(None, None)
