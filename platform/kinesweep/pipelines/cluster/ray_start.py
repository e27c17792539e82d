"""Initialization of Ray in this process, again if the machine was too slow the first time.

Ray waits 30 seconds for its node, a number that cannot be set. The first start after an
installation, which reads hundreds of megabytes from the disk, can take longer on a busy machine.
"""

import logging
from pathlib import Path
from typing import Any

import psutil

from kinesweep.core.errors import ResourceError
from kinesweep.pipelines.cluster.ray_messages import mute_native_log

_LOG = logging.getLogger(__name__)
# The second attempt finds Ray's files in the page cache; the third is for a machine under load.
_NUM_ATTEMPTS = 3
# Part of the message with which Ray gives up; it raises a plain `Exception`.
_TIMEOUT_MESSAGE = "timed out during startup"


def initialize_ray(options: dict[str, Any]) -> None:
    """Connect to a cluster, or start one on this machine in at most three attempts.

    Args:
        options: Arguments of `ray.init`.

    Raises:
        ConnectionError: If there is no cluster at the address.
        ResourceError: If a new node is not ready within Ray's 30 seconds in any attempt.
    """
    import ray

    for attempt in range(_NUM_ATTEMPTS):
        children = set(psutil.Process().children())
        try:
            with mute_native_log():
                ray.init(**options)
            return
        except Exception as error:
            if _TIMEOUT_MESSAGE not in str(error):
                raise
            _LOG.warning("Ray was not ready in 30 s (attempt %d of %d)", attempt + 1, _NUM_ATTEMPTS)
            _stop_unfinished_node(Path(ray.__file__).parent, children)
    raise ResourceError(
        f"Ray did not start within 30 s in {_NUM_ATTEMPTS} attempts, because this machine is too"
        " busy or short of memory; run the command again when less is running"
    )


def _stop_unfinished_node(ray_dir: Path, children_before: set[psutil.Process]) -> None:
    """Stop the processes of an attempt that failed; Ray itself stops them at the end only.

    Args:
        ray_dir: Folder of the package `ray`.
        children_before: Child processes from before the attempt, such as a tracking server's.
    """
    started = []
    for process in set(psutil.Process().children()) - children_before:
        try:
            # Other threads may start processes in the meantime; Ray's name its folder.
            if any(str(ray_dir) in word for word in process.cmdline()):
                process.kill()
                started.append(process)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(started, timeout=10)
