"""The identity of a run and the ownership of run folders.

Two runs with the same identity produce the same bits. A folder with the same identity is therefore
resumed or its result returned; a folder with another identity is refused. The numbers of threads
and workers, the torch and transformers versions and the processor's instruction set are part of the
identity, because each of them changes the bits.
"""

import fcntl
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.io import read_json, write_json

RUN = "run.json"
RESULT = "result.json"
METRICS = "metrics.jsonl"
START = "start.json"
_OURS = (RUN, RESULT, METRICS, START, "checkpoints", "best", "predictions")
_LOCK = ".lock"
# A killed process may take a moment to exit, while an active one holds the folder for hours.
_LOCK_WAIT_S = 60.0


@dataclass(frozen=True)
class Identity:
    """All inputs that determine the bits of a run."""

    config_hash: str
    seed: int
    store: str
    threads: int
    workers: int
    torch: str
    transformers: str
    processor: str


def identity_of(recipe: Recipe, store_fingerprint: str, workers: int) -> Identity:
    """Return the identity of a run on this machine.

    Args:
        recipe: Recipe of the run.
        store_fingerprint: Fingerprint of the feature store.
        workers: Number of workers.
    """
    # Imported here because it takes seconds: `sweeps` and `report` need only the file names above.
    import torch
    import transformers

    return Identity(
        config_hash=recipe.config_hash(store_fingerprint),
        seed=recipe.training.seed,
        store=store_fingerprint,
        threads=recipe.resources.cpus,
        workers=workers,
        torch=torch.__version__,
        transformers=transformers.__version__,
        processor=processor(recipe.resources.gpus > 0),
    )


def processor(on_gpu: bool) -> str:
    """Return the GPU model, or the instruction set that PyTorch's CPU kernels use."""
    import torch

    if on_gpu and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def claim_run_dir(folder: Path, identity: Identity, overwrite: bool) -> None:
    """Assign a folder to this run, or verify that it already belongs to it.

    Args:
        folder: Run folder; created if missing.
        identity: Identity of the run.
        overwrite: Remove the files of an earlier run first.

    Raises:
        CheckpointError: If the folder belongs to another run or contains unidentified run files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        _empty(folder)
    if not (folder / RUN).exists():
        # Unknown files are tolerated; files of a run without `run.json` would be taken for this
        # run's.
        ours = [name for name in _OURS if (folder / name).exists()]
        if ours:
            raise CheckpointError(
                f"`{folder}` contains `{ours[0]}` but no `{RUN}` that identifies its run; choose"
                " another folder, or give `--overwrite` to remove the existing run files"
            )
        write_json(folder / RUN, asdict(identity))
        return
    found = _read(folder)
    wanted = asdict(identity)
    # Compare only known keys, so that additional keys of another version are no difference.
    other = [key for key in wanted if found.get(key) != wanted[key]]
    if other:
        shown = "; ".join(f"{key} {found.get(key)!r} there, {wanted[key]!r} here" for key in other)
        raise CheckpointError(
            f"`{folder}` belongs to another run: {shown}. Choose another folder, or give"
            " `--overwrite` to remove the existing run"
        )


@contextmanager
def run_lock(folder: Path, wait_s: float = _LOCK_WAIT_S) -> Iterator[None]:
    """Hold the lock of a run folder; the lock of a killed process is released at once.

    Args:
        folder: Run folder; created if missing.
        wait_s: Maximum waiting time in seconds.

    Raises:
        CheckpointError: If another process still holds the folder after `wait_s` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The kernel releases a `flock` when the process dies. The file itself is never removed, because
    # a waiting process may have it open.
    with (folder / _LOCK).open("w") as file:
        give_up = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise CheckpointError(
                        f"another process is training in `{folder}`; wait for it or stop it"
                    ) from None
                time.sleep(0.2)
        yield


def _read(folder: Path) -> dict[str, object]:
    """Read `run.json`."""
    try:
        found = read_json(folder / RUN)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"`{folder / RUN}` is damaged ({error}); choose another folder, or give `--overwrite`"
            " to remove the existing run"
        ) from None
    return found if isinstance(found, dict) else {}


def _empty(folder: Path) -> None:
    """Remove all run files, `run.json` last: until then the folder still belongs to the old run."""
    for name in (*_OURS[1:], RUN):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
