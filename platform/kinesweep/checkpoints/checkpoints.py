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
from kinesweep.core.hashing import compute_file_hashes
from kinesweep.core.io import fsync_path, fsync_tree, read_json, remove_folder, write_json

MANIFEST_FILENAME = "manifest.json"
PROGRESS_FILENAME = "progress.json"
# Version of the checkpoint layout; a checkpoint of another version does not verify.
_FORMAT_VERSION = 1


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
    """Create an empty temporary folder in which the files of a new checkpoint are written.

    The folder does not count as a checkpoint until `publish_checkpoint` renames it. A temporary
    folder that was left over for the same step is removed first.

    Args:
        root: Folder of all checkpoints of the run.
        step: Number of optimizer steps done.

    Returns:
        Path of the temporary folder.
    """
    # The name does not start with `step-`: a restart removes an unpublished folder as a leftover.
    folder = root / f".saving-{step:08d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def publish_checkpoint(temporary_dir: Path, step: int, progress: TrainingProgress) -> Checkpoint:
    """Publish a temporary folder as the checkpoint of a step, by an atomic rename.

    `progress.json` and the manifest are added first. An earlier checkpoint of the step is replaced.

    Args:
        temporary_dir: Folder from `create_checkpoint_folder`, with all files written.
        step: Number of optimizer steps done.
        progress: State of the run, saved with the checkpoint.

    Returns:
        The published checkpoint in its final folder.
    """
    write_json(temporary_dir / PROGRESS_FILENAME, progress.to_json())
    # The order matters: data reaches the disk before the manifest that vouches for it, and the
    # rename comes last. A kill in between leaves an unpublished folder.
    fsync_tree(temporary_dir)
    manifest = {
        "format": _FORMAT_VERSION,
        "step": step,
        # The manifest is not written yet, so it is not among the hashed files.
        "files": compute_file_hashes(temporary_dir),
    }
    write_json(temporary_dir / MANIFEST_FILENAME, manifest)
    checkpoint_dir = get_checkpoint_folder(temporary_dir.parent, step)
    # A rename cannot replace a folder that is not empty.
    remove_folder(checkpoint_dir)
    temporary_dir.rename(checkpoint_dir)
    # Without this, the rename may be lost in a power failure.
    fsync_path(checkpoint_dir.parent)
    return Checkpoint(checkpoint_dir, step, progress)


def get_checkpoint_folder(root: Path, step: int) -> Path:
    """Return the folder of the checkpoint of a step, whether or not it exists.

    Args:
        root: Folder of all checkpoints of the run.
        step: Number of optimizer steps done.
    """
    return root / f"step-{step:08d}"


def recover_newest_checkpoint(root: Path, needs_best: bool = True) -> Checkpoint | None:
    """Remove checkpoints that cannot be resumed, and return the newest one that can be.

    Incomplete or damaged checkpoints, and everything in the folder that is not a checkpoint, are
    removed.

    Args:
        root: Folder of all checkpoints of the run; it may be missing.
        needs_best: Whether the best checkpoint must be complete too. A checkpoint whose best one is
            damaged cannot produce the run's result; it is removed if it is newer than the returned
            one.

    Returns:
        The newest checkpoint from which the run can be resumed; None if there is none.
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
        # Before the first evaluation there is no best checkpoint that could be lost.
        if not needs_best or best_step is None or best_step in verified:
            return verified[step]
        remove_folder(verified[step].folder)
    return None


def verify_checkpoint(folder: Path) -> Checkpoint | None:
    """Verify the checkpoint in a folder by the hashes in its manifest.

    Args:
        folder: Checkpoint folder.

    Returns:
        The checkpoint; None if a file is missing, cannot be read or differs from what was written,
        if the folder has an additional file, or if the checkpoint has another format version.
    """
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST_FILENAME)
        hashes = compute_file_hashes(folder)
        # The manifest cannot contain its own hash.
        hashes.pop(MANIFEST_FILENAME)
        if manifest["format"] != _FORMAT_VERSION or manifest["files"] != hashes:
            return None
        step = int(manifest["step"])
        # Pruning reads the step from the folder name, so name and manifest must agree.
        if get_checkpoint_folder(folder.parent, step) != folder:
            return None
        return Checkpoint(folder, step, TrainingProgress(**read_json(folder / PROGRESS_FILENAME)))
    except (OSError, ValueError, KeyError, TypeError):
        # Every kind of read error means the same: this is not a checkpoint.
        return None


def should_write_checkpoint(keep: str, is_best: bool, is_due: bool) -> bool:
    """Return whether the policies for checkpoints need one of the current step.

    Args:
        keep: Policy for old checkpoints, from `checkpoints.keep`.
        is_best: Whether the current step is the best one so far.
        is_due: Whether the interval between checkpoints is over or training ends here.
    """
    # With `last`, the result is the last checkpoint, so the best one is not needed.
    policies = {"best": is_best, "last": is_due}
    return policies.get(keep, is_best or is_due)


def prune_checkpoints(
    root: Path, keep: str, last_step: int, best_step: int | None, num_averaged: int = 1
) -> None:
    """Remove the checkpoints that the policy does not keep, after a new one was published.

    Args:
        root: Folder of all checkpoints of the run.
        keep: Policy, from `checkpoints.keep`.
        last_step: Step of the newest checkpoint.
        best_step: Step of the best checkpoint so far; None if no step has been evaluated.
        num_averaged: Number of checkpoints that are averaged: each kept step is kept together with
            the `num_averaged - 1` checkpoints before it.
    """
    if keep == "all":
        return
    policies: dict[str, set[int | None]] = {
        "best+last": {last_step, best_step},
        "best": {best_step},
        "last": {last_step},
    }
    steps = [_parse_step(path) for path in root.glob("step-*")]
    kept_steps = {
        step
        for end_step in policies[keep]
        if end_step is not None
        for step in select_last_steps(steps, end_step, num_averaged)
    }
    # Oldest first. A kill in between leaves extra checkpoints, which the next call removes.
    for step in sorted(set(steps) - kept_steps):
        remove_folder(get_checkpoint_folder(root, step))


def find_last_checkpoints(root: Path, end_step: int, max_checkpoints: int) -> list[Path]:
    """Find the folders of the last checkpoints up to and including a step, by their names.

    The checkpoints are not verified.

    Args:
        root: Folder of all checkpoints of the run.
        end_step: Step after which checkpoints are ignored.
        max_checkpoints: Maximum number of folders; fewer are returned if there are fewer.

    Returns:
        Checkpoint folders in ascending order of their steps.
    """
    steps = [_parse_step(path) for path in root.glob("step-*")]
    return [
        get_checkpoint_folder(root, step)
        for step in select_last_steps(steps, end_step, max_checkpoints)
    ]


def select_last_steps(steps: Sequence[int], end_step: int, max_steps: int) -> list[int]:
    """Select the last `max_steps` steps up to and including `end_step`, in ascending order."""
    return sorted(step for step in steps if step <= end_step)[-max_steps:]


def _parse_step(folder: Path) -> int:
    """Parse the number of optimizer steps from the name of a checkpoint folder, `step-NNNNNNNN`."""
    return int(folder.name.removeprefix("step-"))


def remove_checkpoints(run_dir: Path) -> None:
    """Remove all checkpoints of a run; its best model, result and records stay.

    Call this function for finished runs, and for pruned ones that will not be resumed.

    Args:
        run_dir: Run folder.
    """
    remove_folder(run_dir / "checkpoints")


def _remove_path(path: Path) -> None:
    """Remove a file, or a folder with its content."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
