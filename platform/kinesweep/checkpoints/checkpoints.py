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

from kinesweep.checkpoints.progress import Progress
from kinesweep.config.recipe.training import CheckpointsConfig, TrainingConfig
from kinesweep.core.errors import ResourceError
from kinesweep.core.hashing import folder_sha256
from kinesweep.core.io import read_json, remove_folder, sync, sync_tree, write_json
from kinesweep.core.units import format_bytes

MANIFEST = "manifest.json"
PROGRESS = "progress.json"
WEIGHTS = "model.safetensors"
# Version of the checkpoint layout; a checkpoint of another version does not verify.
_FORMAT = 1
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
    progress: Progress


def begin(root: Path, step: int) -> Path:
    """Create an empty folder for a new checkpoint, which is ignored until `publish`.

    Args:
        root: Checkpoint folder of the run.
        step: Number of optimizer steps done.
    """
    # The name does not start with `step-`: a restart removes an unpublished folder as a leftover.
    folder = root / f".saving-{step:08d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def publish(saving: Path, step: int, progress: Progress) -> Checkpoint:
    """Turn the content of `saving` into the checkpoint of a step.

    Args:
        saving: Folder from `begin`, with all files written.
        step: Number of optimizer steps done.
        progress: State of the run, saved with the checkpoint.
    """
    write_json(saving / PROGRESS, progress.to_json())
    # The order matters: data reaches the disk before the manifest that vouches for it, and the
    # rename comes last. A kill in between leaves an unpublished folder.
    sync_tree(saving)
    manifest = {"format": _FORMAT, "step": step, "files": folder_sha256(saving)}
    write_json(saving / MANIFEST, manifest)
    final = step_folder(saving.parent, step)
    # A rename cannot replace a folder that is not empty.
    remove_folder(final)
    saving.rename(final)
    # Without this, the rename may be lost in a power failure.
    sync(final.parent)
    return Checkpoint(final, step, progress)


def step_folder(root: Path, step: int) -> Path:
    """Return the folder of the checkpoint of a step."""
    return root / f"step-{step:08d}"


def newest_verified(root: Path, needs_best: bool = True) -> Checkpoint | None:
    """Return the newest complete checkpoint and remove all that fail verification.

    Args:
        root: Checkpoint folder of the run.
        needs_best: Whether the best checkpoint must be complete too. A checkpoint whose best one is
            damaged cannot produce the run's result; it is removed.
    """
    verified: dict[int, Checkpoint] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        checkpoint = verify(path) if path.name.startswith("step-") else None
        if checkpoint is None:
            _remove(path)
        else:
            verified[checkpoint.step] = checkpoint
    # Verification is complete at this point, so a best step that is not in `verified` is lost.
    for step in sorted(verified, reverse=True):
        best_step = verified[step].progress.best_step
        if not needs_best or best_step is None or best_step in verified:
            return verified[step]
        remove_folder(verified[step].folder)
    return None


def verify(folder: Path) -> Checkpoint | None:
    """Return the checkpoint in a folder, or None if any file differs from what was written."""
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
        found = folder_sha256(folder)
        # The manifest cannot contain its own hash.
        found.pop(MANIFEST)
        if manifest["format"] != _FORMAT or manifest["files"] != found:
            return None
        step = int(manifest["step"])
        # Pruning reads the step from the folder name, so name and manifest must agree.
        if step_folder(folder.parent, step) != folder:
            return None
        return Checkpoint(folder, step, Progress(**read_json(folder / PROGRESS)))
    except (OSError, ValueError, KeyError, TypeError):
        # Every kind of read error means the same: this is not a checkpoint.
        return None


def is_kept(keep: str, is_best: bool) -> bool:
    """Return whether the policy `keep` requires a new checkpoint to be written."""
    return keep != "best" or is_best


def prune(root: Path, keep: str, last: int, best: int | None, count: int = 1) -> None:
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
    steps = [_step_of(path) for path in root.glob("step-*")]
    kept = {step for end in policies[keep] if end is not None for step in run_up(steps, end, count)}
    # Oldest first. A kill in between leaves extra checkpoints, which the next call removes.
    for step in sorted(set(steps) - kept):
        remove_folder(step_folder(root, step))


def leading_to(root: Path, step: int, count: int) -> list[Path]:
    """Return the last `count` checkpoints up to and including a step, oldest first.

    Fewer are returned if there are fewer.
    """
    steps = [_step_of(path) for path in root.glob("step-*")]
    return [step_folder(root, found) for found in run_up(steps, step, count)]


def run_up(steps: Sequence[int], end: int, count: int) -> list[int]:
    """Return the last `count` steps up to and including `end`, in ascending order."""
    return sorted(step for step in steps if step <= end)[-count:]


def _step_of(folder: Path) -> int:
    """Parse the step from the name of a checkpoint folder."""
    return int(folder.name.removeprefix("step-"))


def drop_checkpoints(folder: Path) -> None:
    """Remove all checkpoints of a run; best model, result and records stay.

    For finished runs, and for pruned ones that will not be resumed.
    """
    remove_folder(folder / "checkpoints")


def checkpoint_bytes(weight_bytes: int, num_trained: int, workers: int = 1) -> int:
    """Estimate the size of one checkpoint in bytes.

    Args:
        weight_bytes: Size of all weights.
        num_trained: Number of parameters with optimizer state.
        workers: Number of workers; each saves its own RNG states.
    """
    return weight_bytes + _ADAM_BYTES * num_trained + _SMALL_FILES_BYTES * workers


def run_bytes(
    one: int, weight_bytes: int, checkpoints: CheckpointsConfig, training: TrainingConfig
) -> int:
    """Estimate the peak disk use of a run in bytes.

    The peak includes the kept checkpoints, the one being written, and the best model.

    Args:
        one: Size of one checkpoint.
        weight_bytes: Size of all weights.
        checkpoints: Retention policy.
        training: Numbers of steps, evaluations and averaged checkpoints.
    """
    # Ceiling division: the last step is always evaluated.
    evaluations = -(-training.max_steps // training.eval_steps)
    ends = {"best+last": 2, "best": 1, "last": 1, "all": evaluations}[checkpoints.keep]
    kept = min(evaluations, ends * training.average_checkpoints)
    # One more than are kept: a new checkpoint is published before old ones are pruned.
    return min(kept + 1, evaluations) * one + weight_bytes


def check_disk(
    folder: Path, needed: int, one: int, checkpoints: CheckpointsConfig, already: int = 0
) -> None:
    """Refuse a run whose checkpoints would not fit on the disk.

    Args:
        folder: Run folder; must exist.
        needed: Peak disk use of the run in bytes.
        one: Size of one checkpoint in bytes.
        checkpoints: Retention policy and disk limit.
        already: Bytes that an earlier part of the run occupies in `folder`.

    Raises:
        ResourceError: If `needed` exceeds `checkpoints.max_disk` or the free space.
    """
    # A resumed run replaces its own files, so their space counts as free.
    free = shutil.disk_usage(folder).free + already
    amount = f"checkpoints of this run need up to {format_bytes(needed)}"
    amount += f" ({format_bytes(one)} each, `checkpoints.keep: {checkpoints.keep}`)"
    if needed > checkpoints.max_disk_bytes:
        raise ResourceError(
            f"{amount}, but `checkpoints.max_disk` allows {checkpoints.max_disk};"
            " raise it, or set `checkpoints.keep=last`"
        )
    if needed > free:
        raise ResourceError(
            f"{amount}, but `{folder}` has {format_bytes(free)} left;"
            " free up space, or move the run to another disk (`KINESWEEP_HOME`)"
        )


def _remove(path: Path) -> None:
    """Remove a leftover file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
