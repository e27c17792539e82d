"""File system paths: the state folder, network disks, and validation of paths from data files."""

import os
from contextlib import suppress
from pathlib import Path

import psutil

from kinesweep.core.errors import ClipError

_NETWORK_FILESYSTEMS = (
    *("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "glusterfs", "fuse.glusterfs", "ceph"),
    *("afs", "9p", "panfs", "wekafs", "fuse.sshfs", "fuse.ceph", "pvfs", "orangefs"),
)
"""Prefixes of the file system types that are network file systems."""


def get_state_dir() -> Path:
    """Return the absolute state folder: `$KINESWEEP_HOME` or `.kinesweep` in the current folder."""
    return Path(os.environ.get("KINESWEEP_HOME", ".kinesweep")).expanduser().absolute()


def compute_directory_size(folder: Path) -> int:
    """Compute the total size in bytes of all files below a folder, or 0 if it does not exist.

    Other processes may remove files and folders at the same time. `os.walk` tolerates that;
    `Path.rglob` would raise.
    """
    num_bytes = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            # The file may have been removed since its folder was listed.
            with suppress(FileNotFoundError):
                num_bytes += os.stat(os.path.join(directory, name)).st_size
    return num_bytes


def get_network_filesystem(path: Path) -> str:
    """Return the type of the network file system that holds a path, or "" for another file system.

    Args:
        path: A path, which does not have to exist.
    """
    # `all=True` includes network mounts, which psutil omits by default.
    mounts = {disk.mountpoint: disk.fstype for disk in psutil.disk_partitions(all=True)}
    # A symbolic link may lead to another file system than the folder that contains it.
    real_path = Path(os.path.realpath(path))
    # The innermost mount point decides, so the search goes from the path upwards.
    filesystem_type = next(
        (
            mounts[str(folder)]
            for folder in (real_path, *real_path.parents)
            if str(folder) in mounts
        ),
        "",
    )
    return filesystem_type if filesystem_type.lower().startswith(_NETWORK_FILESYSTEMS) else ""


def resolve_path_inside(root: Path, relative: str) -> Path:
    """Return `root / relative`, normalized, after checking that it does not leave the root.

    The check is one of the text alone: symbolic links are not followed.

    Args:
        root: Folder that the result must lie in.
        relative: Path from a data file, which must not give access to other files.

    Raises:
        ClipError: If the path is absolute or leaves the root.
    """
    path = Path(os.path.normpath(root / relative))
    # `normpath` removes `..` from the text alone; symbolic links below the root are allowed.
    # Absolute paths are compared, because `Path("../x").is_relative_to(".")` is true.
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):
        raise ClipError(
            f"`{relative}` lies outside the corpus root `{root}`", reason="outside_root"
        )
    return path


def is_local_path(name: str) -> bool:
    """Return whether a model name can only be a local path, judging by its form.

    A name that has the form of a hub id, such as `owner/name`, is not a local path here, even if
    there is such a folder.
    """
    # A hub id has at most one slash: `owner/name`.
    return name.startswith((".", "/", "~")) or name.count("/") > 1
