"""The Optuna study of a sweep for commands that do not run it: completed, and how to open it.

The driver keeps the study up to date while it runs. These commands complete one that was deleted
or whose storage was away; they only show a sweep, so nothing of this may fail them or hold them.
"""

import logging
import threading
from pathlib import Path

from kinesweep.core.errors import KinesweepError
from kinesweep.pipelines.sweeps.sweep_lock import try_lock_sweep
from kinesweep.sweeps.journal.journal import read_journal
from kinesweep.sweeps.journal.sweep_metadata import METADATA, read_sweep_metadata
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.study.storage import check_study_driver, format_dashboard_command
from kinesweep.sweeps.study.study_mirror import StudyMirror

logger = logging.getLogger(__name__)
# Longer than the 30 s after which Optuna removes the lock that a killed process left.
_MAX_WAIT_S = 40.0


def complete_study(folder: Path) -> str:
    """Add to the study of a sweep what it lacks, unless a driver runs, and return its command.

    A storage that cannot be used is logged as a warning.

    Args:
        folder: Folder of the sweep.

    Returns:
        The command that shows the study; empty if the search has not started.

    Raises:
        CheckpointError: If the search space of the sweep cannot be read, such as without a package
            that has one of its parts.
    """
    if not (folder / METADATA).exists():
        return ""
    space = read_sweep_metadata(folder).space
    # A database that is locked or hangs never answers, and its client library waits as long.
    thread = threading.Thread(target=_try_complete_study, args=(folder, space), daemon=True)
    thread.start()
    thread.join(_MAX_WAIT_S)
    if thread.is_alive():
        _warn(folder, f"its storage did not answer within {_MAX_WAIT_S:.0f} s")
    return format_dashboard_command(folder, space.study_storage)


def _try_complete_study(folder: Path, space: SearchSpace) -> None:
    """Add to the study of a sweep what it lacks, unless a driver runs; log a failure."""
    try:
        with try_lock_sweep(folder.name) as is_held:
            # The thread of a running driver writes the study already.
            if is_held:
                check_study_driver(space.study_storage)
                StudyMirror(folder, space, read_journal(folder)).close()
    except Exception as error:
        reason = str(error).partition("\n")[0]
        name = "" if isinstance(error, KinesweepError) else f"{type(error).__name__}: "
        _warn(folder, f"{name}{reason}")


def _warn(folder: Path, reason: str) -> None:
    """Log that the study of a sweep is not up to date."""
    logger.warning(f"the Optuna study of {folder.name} is not up to date: {reason}")
