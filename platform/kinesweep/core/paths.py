"""Where things lie: the state folder, and paths that come out of data files."""

import os
from contextlib import suppress
from pathlib import Path

import psutil

from kinesweep.core.errors import ClipError

_NETWORK = (
    *("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "glusterfs", "fuse.glusterfs", "ceph"),
    *("afs", "9p", "panfs", "wekafs", "fuse.sshfs", "fuse.ceph", "pvfs", "orangefs"),
)
"""How names of network file systems begin."""


def state_home() -> Path:
    """The state folder, absolute: `$KINESWEEP_HOME`, or `.kinesweep` in the current folder."""
    return Path(os.environ.get("KINESWEEP_HOME", ".kinesweep")).expanduser().absolute()


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder, 0 when it is not there.

    Others may remove files and folders meanwhile; `Path.rglob` would raise then.
    """
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def network_filesystem(path: Path) -> str:
    """Kind of the network file system that a path lies on, there or not; empty on a local disk."""
    mounts = {disk.mountpoint: disk.fstype for disk in psutil.disk_partitions(all=True)}
    place = Path(os.path.realpath(path))
    own = next((mounts[str(p)] for p in (place, *place.parents) if str(p) in mounts), "")
    return own if own.lower().startswith(_NETWORK) else ""


def inside(root: Path, relative: str) -> Path:
    """`root / relative`, refused when it leaves the root: data must not reach other files.

    Raises:
        ClipError: the path is absolute or climbs out of the root.
    """
    path = Path(os.path.normpath(root / relative))
    # Compared as absolute paths: `../x` counts as relative to `.`, being below nothing.
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):
        raise ClipError(
            f"`{relative}` lies outside of the corpus root `{root}`", reason="outside_root"
        )
    return path
