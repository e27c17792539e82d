"""Atomic checkpoints: a checkpoint is either complete and verified, or ignored.

A checkpoint is written to a temporary folder and synced to disk. `manifest.json`, with the SHA-256
of every file, is written last, and then the folder is renamed. A checkpoint that fails verification
is removed and the previous one is used: Hugging Face would silently resume a checkpoint without its
optimizer state, with different weights as a result. Verification reads every byte once per start.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.config.recipe.training import CheckpointsConfig, TrainingConfig
from kinesweep.core.errors import ResourceError
from kinesweep.core.hashing import compute_folder_sha256
from kinesweep.core.io import fsync_path, fsync_tree, read_json, remove_folder, write_json
from kinesweep.core.units import format_bytes

MANIFEST = "manifest.json"
PROGRESS = "progress.json"
WEIGHTS = "model.safetensors"
# Version of the checkpoint layout; a checkpoint of another version does not verify.
_FORMAT_VERSION = 1
# Size of configuration, RNG states, scheduler and manifest (about 40 KB per worker), with a margin.
_SMALL_FILES_BYTES = 200_000
# AdamW keeps two float32 moments for each trained parameter.
_ADAM_BYTES = 8


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint.

    Attributes:
        folder: Checkpoint folder.
        step: Number of optimizer steps done.
        progress: State of the run at this step.
    """

    folder: Path
    step: int
    progress: TrainingProgress


def create_checkpoint_folder(root: Path, step: int) -> Path:
    """Create an empty folder for a new checkpoint, ignored until `publish_checkpoint`.

    Args:
        root: Checkpoint folder of the run.
        step: Number of optimizer steps done.
    """
    # The name does not start with `step-`: a restart removes an unpublished folder as a leftover.
    folder = root / f".saving-{step:08d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def publish_checkpoint(temporary_dir: Path, step: int, progress: TrainingProgress) -> Checkpoint:
    """Publish a temporary folder as the checkpoint of a step, by an atomic rename.

    Args:
        temporary_dir: Folder from `create_checkpoint_folder`, with all files written.
        step: Number of optimizer steps done.
        progress: State of the run, saved with the checkpoint.
    """
    write_json(temporary_dir / PROGRESS, progress.to_json())
    # The order matters: data reaches the disk before the manifest that vouches for it, and the
    # rename comes last. A kill in between leaves an unpublished folder.
    fsync_tree(temporary_dir)
    manifest = {
        "format": _FORMAT_VERSION,
        "step": step,
        "files": compute_folder_sha256(temporary_dir),
    }
    write_json(temporary_dir / MANIFEST, manifest)
    checkpoint_dir = get_checkpoint_folder(temporary_dir.parent, step)
    # A rename cannot replace a folder that is not empty.
    remove_folder(checkpoint_dir)
    temporary_dir.rename(checkpoint_dir)
    # Without this, the rename may be lost in a power failure.
    fsync_path(checkpoint_dir.parent)
    return Checkpoint(checkpoint_dir, step, progress)


def get_checkpoint_folder(root: Path, step: int) -> Path:
    """Return the folder of the checkpoint of a step."""
    return root / f"step-{step:08d}"


def find_newest_checkpoint(root: Path, needs_best: bool = True) -> Checkpoint | None:
    """Return the newest complete checkpoint and remove all that fail verification.

    Args:
        root: Checkpoint folder of the run.
        needs_best: Whether the best checkpoint must be complete too. A checkpoint whose best one is
            damaged cannot produce the run's result; it is removed.
    """
    verified: dict[int, Checkpoint] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        checkpoint = verify_checkpoint(path) if path.name.startswith("step-") else None
        if checkpoint is None:
            _remove_path(path)
        else:
            verified[checkpoint.step] = checkpoint
    # Verification is complete at this point, so a best step that is not in `verified` is lost.
    for step in sorted(verified, reverse=True):
        best_step = verified[step].progress.best_step
        if not needs_best or best_step is None or best_step in verified:
            return verified[step]
        remove_folder(verified[step].folder)
    return None


def verify_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the checkpoint in a folder, or None if any file differs from what was written."""
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
        hashes = compute_folder_sha256(folder)
        # The manifest cannot contain its own hash.
        hashes.pop(MANIFEST)
        if manifest["format"] != _FORMAT_VERSION or manifest["files"] != hashes:
            return None
        step = int(manifest["step"])
        # Pruning reads the step from the folder name, so name and manifest must agree.
        if get_checkpoint_folder(folder.parent, step) != folder:
            return None
        return Checkpoint(folder, step, TrainingProgress(**read_json(folder / PROGRESS)))
    except (OSError, ValueError, KeyError, TypeError):
        # Every kind of read error means the same: this is not a checkpoint.
        return None


def should_write_checkpoint(keep: str, is_best: bool) -> bool:
    """Return whether the policy `keep` requires a new checkpoint to be written."""
    return keep != "best" or is_best


def prune_checkpoints(root: Path, keep: str, last: int, best: int | None, count: int = 1) -> None:
    """Remove the checkpoints that the policy does not keep, after a new one was published.

    Args:
        root: Checkpoint folder of the run.
        keep: Policy, from `checkpoints.keep`.
        last: Step of the newest checkpoint.
        best: Step of the best checkpoint so far.
        count: Number of checkpoints to keep up to and including each kept step, for averaging.
    """
    if keep == "all":
        return
    policies: dict[str, set[int | None]] = {
        "best+last": {last, best},
        "best": {best},
        "last": {last},
    }
    steps = [_parse_step(path) for path in root.glob("step-*")]
    kept_steps = {
        step
        for end in policies[keep]
        if end is not None
        for step in select_last_steps(steps, end, count)
    }
    # Oldest first. A kill in between leaves extra checkpoints, which the next call removes.
    for step in sorted(set(steps) - kept_steps):
        remove_folder(get_checkpoint_folder(root, step))


def find_last_checkpoints(root: Path, step: int, count: int) -> list[Path]:
    """Return the last `count` checkpoints up to and including a step, oldest first.

    Fewer are returned if there are fewer.
    """
    steps = [_parse_step(path) for path in root.glob("step-*")]
    return [
        get_checkpoint_folder(root, kept_step)
        for kept_step in select_last_steps(steps, step, count)
    ]


def select_last_steps(steps: Sequence[int], end: int, count: int) -> list[int]:
    """Return the last `count` steps up to and including `end`, in ascending order."""
    return sorted(step for step in steps if step <= end)[-count:]


def _parse_step(folder: Path) -> int:
    """Parse the step from the name of a checkpoint folder."""
    return int(folder.name.removeprefix("step-"))


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints of a run; best model, result and records stay.

    For finished runs, and for pruned ones that will not be resumed.
    """
    remove_folder(folder / "checkpoints")


def estimate_checkpoint_bytes(weight_bytes: int, num_trainable: int, num_workers: int = 1) -> int:
    """Estimate the size of one checkpoint in bytes.

    Args:
        weight_bytes: Size of all weights.
        num_trainable: Number of parameters with optimizer state.
        num_workers: Number of workers; each saves its own RNG states.
    """
    return weight_bytes + _ADAM_BYTES * num_trainable + _SMALL_FILES_BYTES * num_workers


def estimate_run_bytes(
    bytes_per_checkpoint: int,
    weight_bytes: int,
    checkpoints: CheckpointsConfig,
    training: TrainingConfig,
) -> int:
    """Estimate the peak disk use of a run in bytes.

    The peak includes the kept checkpoints, the one being written, and the best model.

    Args:
        bytes_per_checkpoint: Size of one checkpoint.
        weight_bytes: Size of all weights.
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
        needed_bytes: Peak disk use of the run in bytes.
        bytes_per_checkpoint: Size of one checkpoint in bytes.
        checkpoints: Retention policy and disk limit.
        existing_bytes: Bytes that an earlier part of the run occupies in `folder`.

    Raises:
        ResourceError: If `needed_bytes` exceeds `checkpoints.max_disk` or the free space.
    """
    # A resumed run replaces its own files, so their space counts as free.
    free_bytes = shutil.disk_usage(folder).free + existing_bytes
    amount = f"checkpoints of this run need up to {format_bytes(needed_bytes)}"
    amount += (
        f" ({format_bytes(bytes_per_checkpoint)} each, `checkpoints.keep: {checkpoints.keep}`)"
    )
    if needed_bytes > checkpoints.max_disk_bytes:
        raise ResourceError(
            f"{amount}, but `checkpoints.max_disk` allows {checkpoints.max_disk};"
            " raise it, or set `checkpoints.keep=last`"
        )
    if needed_bytes > free_bytes:
        raise ResourceError(
            f"{amount}, but `{folder}` has {format_bytes(free_bytes)} left;"
            " free up space, or move the run to another disk (`KINESWEEP_HOME`)"
        )


def _remove_path(path: Path) -> None:
    """Remove a leftover file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
