"""Checkpoints that are whole or do not count.

A checkpoint is written under another name, brought to the disk, and given `manifest.json` (the
SHA-256 of every file) last; then it is renamed. Whatever does not verify is removed and the one
before it is used: a Hugging Face checkpoint without its optimiser would resume in silence, with
other weights. Verifying reads every byte, once a start.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.errors import ResourceError
from kinesweep.core.hashing import folder_sha256
from kinesweep.core.recipe.training import CheckpointsConfig, TrainingConfig
from kinesweep.core.units import format_bytes
from kinesweep.training.files import read_json, remove_folder, sync, sync_tree, write_json
from kinesweep.training.progress import Progress

MANIFEST = "manifest.json"
PROGRESS = "progress.json"
WEIGHTS = "model.safetensors"
_FORMAT = 1
_SMALL_FILES_BYTES = 200_000
"""Configuration, states of random numbers, scheduler and manifest: about 40 KB a worker."""
_ADAM_BYTES = 8
"""Two float32 moments a trained parameter."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint.

    Attributes:
        folder: where it lies.
        step: optimiser steps it has seen.
        progress: the run's state then.
    """

    folder: Path
    step: int
    progress: Progress


def begin(root: Path, step: int) -> Path:
    """An empty folder to write a checkpoint into; it does not count until `publish`."""
    folder = root / f".saving-{step:08d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def publish(saving: Path, step: int, progress: Progress) -> Checkpoint:
    """Makes what lies in `saving` the checkpoint of a step."""
    write_json(saving / PROGRESS, progress.to_json())
    sync_tree(saving)
    manifest = {"format": _FORMAT, "step": step, "files": folder_sha256(saving)}
    write_json(saving / MANIFEST, manifest)
    final = step_folder(saving.parent, step)
    remove_folder(final)
    saving.rename(final)
    sync(final.parent)
    return Checkpoint(final, step, progress)


def step_folder(root: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return root / f"step-{step:08d}"


def newest_verified(root: Path, needs_best: bool = True) -> Checkpoint | None:
    """The newest checkpoint that is whole; every other one that is not is removed.

    Args:
        root: the run's folder of checkpoints.
        needs_best: whether the run must still find its best checkpoint too; one whose best is
            damaged cannot give the run's result and is left behind.
    """
    verified: dict[int, Checkpoint] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        checkpoint = verify(path) if path.name.startswith("step-") else None
        if checkpoint is None:
            _remove(path)
        else:
            verified[checkpoint.step] = checkpoint
    for step in sorted(verified, reverse=True):
        best_step = verified[step].progress.best_step
        if not needs_best or best_step is None or best_step in verified:
            return verified[step]
        remove_folder(verified[step].folder)
    return None


def verify(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder, or None when anything in it is not what was written."""
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
        found = folder_sha256(folder)
        found.pop(MANIFEST)
        if manifest["format"] != _FORMAT or manifest["files"] != found:
            return None
        step = int(manifest["step"])
        if step_folder(folder.parent, step) != folder:
            return None
        return Checkpoint(folder, step, Progress(**read_json(folder / PROGRESS)))
    except (OSError, ValueError, KeyError, TypeError):
        # Unreadable in any way is one case: it is not a checkpoint.
        return None


def is_kept(keep: str, is_best: bool) -> bool:
    """Whether a new checkpoint is worth writing."""
    return keep != "best" or is_best


def prune(root: Path, keep: str, last: int, best: int | None, count: int = 1) -> None:
    """Removes the checkpoints that the policy does not keep, after a new one counts.

    Args:
        root: the run's folder of checkpoints.
        keep: the policy.
        last: step of the newest.
        best: step of the best so far.
        count: of each of these so many: itself and those before it, whose mean will be asked for.
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
    for step in sorted(set(steps) - kept):
        remove_folder(step_folder(root, step))


def leading_to(root: Path, step: int, count: int) -> list[Path]:
    """The checkpoint of a step and those before it, `count` in all, in order; or all there are."""
    steps = [_step_of(path) for path in root.glob("step-*")]
    return [step_folder(root, found) for found in run_up(steps, step, count)]


def run_up(steps: Sequence[int], end: int, count: int) -> list[int]:
    """The last `count` steps up to and including `end`, in order."""
    return sorted(step for step in steps if step <= end)[-count:]


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def drop_checkpoints(folder: Path) -> None:
    """Removes a run's checkpoints; best model, result and records stay.

    For runs that are finished, and for pruned ones that nobody will go on with.
    """
    remove_folder(folder / "checkpoints")


def checkpoint_bytes(weight_bytes: int, num_trained: int, workers: int = 1) -> int:
    """About what one checkpoint takes.

    Args:
        weight_bytes: of all weights.
        num_trained: parameters with optimiser state.
        workers: each has its own states of random numbers.
    """
    return weight_bytes + _ADAM_BYTES * num_trained + _SMALL_FILES_BYTES * workers


def run_bytes(
    one: int, weight_bytes: int, checkpoints: CheckpointsConfig, training: TrainingConfig
) -> int:
    """The most that a run has on disk at once: those kept, the one in writing, the best model."""
    evaluations = -(-training.max_steps // training.eval_steps)
    ends = {"best+last": 2, "best": 1, "last": 1, "all": evaluations}[checkpoints.keep]
    kept = min(evaluations, ends * training.average_checkpoints)
    return min(kept + 1, evaluations) * one + weight_bytes


def check_disk(
    folder: Path, needed: int, one: int, checkpoints: CheckpointsConfig, already: int = 0
) -> None:
    """Refuses a run whose checkpoints would not fit.

    Args:
        folder: where they would lie; must exist.
        needed: bytes of the run at its largest.
        one: bytes of one checkpoint.
        checkpoints: holds the bound.
        already: bytes of it that lie there from before.

    Raises:
        ResourceError: more than `max_disk` or than the free space.
    """
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
            " free some, or put the run on another disk (`KINESWEEP_HOME`)"
        )


def _remove(path: Path) -> None:
    """Removes a leftover, file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
