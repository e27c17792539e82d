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


def get_available_memory_bytes(cgroup_root: Path = _CGROUP_ROOT) -> int:
    """Return the number of bytes that this process can still take without anything being swapped.

    It is the smallest of what the machine has left and what each control group has left of its
    limit (versions 1 and 2); caches of files that the kernel would give up count as free.

    Args:
        cgroup_root: Folder at which control groups are mounted.
    """
    free_bytes = [int(psutil.virtual_memory().available)]
    for folder, limit_name, usage_name, cache_key in _list_cgroup_folders(cgroup_root):
        for limit in _read_limit(folder / limit_name):
            for usage in _read_limit(folder / usage_name):
                cache = _read_statistic(folder / "memory.stat", cache_key)
                free_bytes.append(max(0, limit - usage + cache))
    return min(free_bytes)


def _list_cgroup_limits(root: Path) -> list[int]:
    """List the limits in bytes of the control groups of this process, as far as there are any."""
    return [
        limit
        for folder, limit_name, *_ in _list_cgroup_folders(root)
        for limit in _read_limit(folder / limit_name)
    ]


def _list_cgroup_folders(root: Path) -> list[tuple[Path, str, str, str]]:
    """List the folders of the control groups of this process and of the groups above them.

    Returns:
        Folder, names of its files with the limit and the usage, and the key of the cache in
        `memory.stat`; empty without control groups.
    """
    try:
        memberships = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:  # not on Linux
        return []
    found = []
    for membership in memberships:
        # `0::/group` in version 2, `4:memory:/group` in version 1.
        _, controllers, group = membership.split(":", 2)
        if controllers == "":
            folder, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            folder = root / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        path = folder / group.strip("/")
        # A group is also bound by the limits of the groups above it.
        for parent in (path, *path.parents):
            found.append((parent, *names))
            if parent == folder:
                break
    return found


def _read_limit(path: Path) -> list[int]:
    """Read a limit; return an empty list if there is no file or no limit (`max`)."""
    try:
        return [int(path.read_text(encoding="ascii"))]
    except (OSError, ValueError):
        return []


def _read_statistic(path: Path, key: str) -> int:
    """Read a number from lines of `key number`; 0 if there is no file or no such line."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    values = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(values.get(key, 0))
