"""Disk space of a sweep's run folders: limit for the saved models, and removal of search models."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from kinesweep.config.recipe.resources import CheckpointsConfig
from kinesweep.core.errors import ResourceError
from kinesweep.core.paths import compute_directory_size
from kinesweep.core.units import format_bytes
from kinesweep.sweeps.journal.journal import Trial
from kinesweep.sweeps.journal.run_folders import RUNS, format_run_name


def compute_model_bytes(folder: Path) -> int:
    """Return the size of the largest saved model of a sweep in bytes; 0 if there is none.

    Args:
        folder: Folder of the sweep.
    """
    names = os.listdir(folder / RUNS) if (folder / RUNS).is_dir() else []
    # Runs may replace or remove their models meanwhile; a missing folder has the size 0.
    return max((compute_directory_size(folder / RUNS / name / "best") for name in names), default=0)


def check_disk_space(folder: Path, num_runs: int, checkpoints: CheckpointsConfig) -> None:
    """Check that `num_runs` more runs can store their models within `checkpoints.max_disk`.

    Each of them is assumed to need as much as the largest saved model of the sweep so far.

    Args:
        folder: Folder of the sweep.
        num_runs: Number of runs that will be trained.
        checkpoints: Checkpoint settings of the recipe, with the limit.

    Raises:
        ResourceError: If the run folders would exceed the limit.
    """
    used_bytes = compute_directory_size(folder / RUNS)
    needed_bytes = used_bytes + num_runs * compute_model_bytes(folder)
    if needed_bytes > checkpoints.max_disk_bytes:
        raise ResourceError(
            f"with {num_runs} more runs the run folders need {format_bytes(needed_bytes)}, more"
            f" than `checkpoints.max_disk` ({checkpoints.max_disk}); raise it"
        )


def remove_search_weights(folder: Path, trials: Sequence[Trial], search_seed: int) -> None:
    """Remove the models and checkpoints of all search runs; all other files of these runs stay.

    Args:
        folder: Folder of the sweep.
        trials: All trials of the search.
        search_seed: Random seed of all search runs.
    """
    for trial in trials:
        run_dir = folder / RUNS / format_run_name(trial.config_hash, search_seed)
        for name in ("best", "checkpoints"):
            shutil.rmtree(run_dir / name, ignore_errors=True)
