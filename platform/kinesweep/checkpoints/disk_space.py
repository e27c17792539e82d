"""Disk space of the checkpoints of a run, estimated and checked before training begins.

A full disk would otherwise end a run after hours, when a checkpoint is written.
"""

import shutil
from pathlib import Path

from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.config.recipe.resources import CheckpointsConfig
from kinesweep.core.errors import ResourceError
from kinesweep.core.units import format_bytes

# Size of configuration, RNG states, scheduler and manifest (about 40 KB per worker), with a margin.
_SMALL_FILES_BYTES = 200_000
# AdamW keeps two float32 moments for each trained parameter.
_ADAM_BYTES = 8


def estimate_checkpoint_bytes(weight_bytes: int, num_trainable: int, num_workers: int = 1) -> int:
    """Estimate the size of one checkpoint in bytes.

    Args:
        weight_bytes: Size of all saved weights in bytes.
        num_trainable: Number of parameters with optimizer state.
        num_workers: Number of workers; each saves its own RNG states.
    """
    return weight_bytes + _ADAM_BYTES * num_trainable + _SMALL_FILES_BYTES * num_workers


def estimate_run_bytes(
    bytes_per_checkpoint: int,
    weight_bytes: int,
    checkpoints: CheckpointsConfig,
    training: ResolvedTrainingConfig,
) -> int:
    """Estimate the peak disk use of a run's checkpoints and best model in bytes.

    The peak includes the kept checkpoints, the one being written, and the best model.

    Args:
        bytes_per_checkpoint: Size of one checkpoint in bytes.
        weight_bytes: Size of all saved weights in bytes.
        checkpoints: Retention policy.
        training: Numbers of steps, evaluations and averaged checkpoints.
    """
    # Ceiling division: the last step is always evaluated.
    num_evaluations = -(-training.max_steps // training.eval_steps)
    num_kept_ends = {"best+last": 2, "best": 1, "last": 1, "all": num_evaluations}[checkpoints.keep]
    num_kept = min(num_evaluations, num_kept_ends * training.average_checkpoints)
    # One more than are kept: a new checkpoint is published before old ones are pruned.
    return min(num_kept + 1, num_evaluations) * bytes_per_checkpoint + weight_bytes


def check_checkpoint_space(
    folder: Path,
    needed_bytes: int,
    bytes_per_checkpoint: int,
    checkpoints: CheckpointsConfig,
    existing_bytes: int = 0,
) -> None:
    """Check that the checkpoints of a run fit on the disk.

    Args:
        folder: Run folder; must exist.
        needed_bytes: Peak disk use from `estimate_run_bytes`.
        bytes_per_checkpoint: Size of one checkpoint in bytes.
        checkpoints: Retention policy and disk limit.
        existing_bytes: Bytes that an earlier part of the run occupies in `folder`.

    Raises:
        ResourceError: If `needed_bytes` exceeds `checkpoints.max_disk` or the free space.
    """
    # A resumed run replaces its own files, so their space counts as free.
    free_bytes = shutil.disk_usage(folder).free + existing_bytes
    requirement = (
        f"checkpoints of this run need up to {format_bytes(needed_bytes)}"
        f" ({format_bytes(bytes_per_checkpoint)} each, `checkpoints.keep: {checkpoints.keep}`)"
    )
    if needed_bytes > checkpoints.max_disk_bytes:
        raise ResourceError(
            f"{requirement}, but `checkpoints.max_disk` allows {checkpoints.max_disk};"
            " raise it, or set `checkpoints.keep=last`"
        )
    if needed_bytes > free_bytes:
        raise ResourceError(
            f"{requirement}, but `{folder}` has {format_bytes(free_bytes)} left;"
            " free up space, or move the run to another disk (`KINESWEEP_HOME`)"
        )
