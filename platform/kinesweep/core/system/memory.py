"""The memory that this process may use: that of the machine, of its control group, or its limit.

Inside of a container the machine's memory says little: the kernel kills the largest process as soon
as the control group's limit is reached.
"""

import resource
from pathlib import Path

import psutil

_CGROUP_ROOT = Path("/sys/fs/cgroup")


def get_memory_limit_bytes(cgroup_root: Path = _CGROUP_ROOT) -> int:
    """Return the largest number of bytes that this process can ever use.

    It is the smallest of the machine's memory, the limits of the control group and of the groups
    above it (versions 1 and 2), and the limit of the address space (`ulimit -v`).

    Args:
        cgroup_root: Folder at which control groups are mounted.
    """
    limits = [int(psutil.virtual_memory().total), *_list_cgroup_limits(cgroup_root)]
    address_space_limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space_limit != resource.RLIM_INFINITY:
        limits.append(address_space_limit)
    return min(limits)


def _list_cgroup_limits(root: Path) -> list[int]:
    """List the limits in bytes of the control groups of this process, as far as there are any."""
    try:
        memberships = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:  # not on Linux
        return []
    limits = []
    for membership in memberships:
        # `0::/group` in version 2, `4:memory:/group` in version 1.
        _, controllers, group = membership.split(":", 2)
        if controllers == "":
            folder, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        path = folder / group.strip("/")
        # A group is also bound by the limits of the groups above it.
        for parent in (path, *path.parents):
            limits += _read_limit(parent / name)
            if parent == folder:
                break
    return limits


def _read_limit(path: Path) -> list[int]:
    """Read a limit; return an empty list if there is no file or no limit (`max`)."""
    try:
        return [int(path.read_text(encoding="ascii"))]
    except (OSError, ValueError):
        return []
