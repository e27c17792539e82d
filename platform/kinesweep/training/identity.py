"""Who a run is, and whose a run folder is.

The same identity gives the same bits; so a folder with the same identity is resumed or its result
handed back, and one with another is refused. Thread and worker counts, the torch version and the
processor's instruction set belong to it because each changes the bits.
"""

import fcntl
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from kinesweep.core.errors import CheckpointError
from kinesweep.core.recipe import Recipe
from kinesweep.training.files import read_json, write_json

RUN = "run.json"
RESULT = "result.json"
METRICS = "metrics.jsonl"
START = "start.json"
_OURS = (RUN, RESULT, METRICS, START, "checkpoints", "best", "predictions")
_LOCK = ".lock"
_LOCK_WAIT_S = 60.0
"""A killed run's process may need a moment to die; a living one holds the folder for hours."""


@dataclass(frozen=True)
class Identity:
    """All that the bits of a run depend on."""

    config_hash: str
    seed: int
    store: str
    threads: int
    workers: int
    torch: str
    transformers: str
    processor: str


def identity_of(recipe: Recipe, store_fingerprint: str, workers: int) -> Identity:
    """The identity of a run on this machine."""
    import torch  # seconds; `sweeps` and `report` only need the names of files
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
    """The GPU's model, or the instruction set that torch's CPU kernels use."""
    import torch

    if on_gpu and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def claim(folder: Path, identity: Identity, overwrite: bool) -> None:
    """Makes a folder this run's, or finds that it is already.

    Raises:
        CheckpointError: it belongs to another run, or holds files of another kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        _empty(folder)
    if not (folder / RUN).exists():
        ours = [name for name in _OURS if (folder / name).exists()]
        if ours:
            raise CheckpointError(
                f"`{folder}` holds `{ours[0]}`, but no {RUN} that says whose it is;"
                " give another folder, or `--overwrite` to remove what lies there"
            )
        write_json(folder / RUN, asdict(identity))
        return
    found = _read(folder)
    wanted = asdict(identity)
    other = [key for key in wanted if found.get(key) != wanted[key]]
    if other:
        shown = "; ".join(f"{key} {found.get(key)!r} there, {wanted[key]!r} here" for key in other)
        raise CheckpointError(
            f"`{folder}` belongs to another run: {shown}. It is not overwritten; give another"
            " folder, or `--overwrite` to remove what lies there"
        )


@contextmanager
def held(folder: Path, wait_s: float = _LOCK_WAIT_S) -> Iterator[None]:
    """Keeps other processes out of a run folder; a killed holder lets go at once.

    Raises:
        CheckpointError: another process still works there after `wait_s` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        give_up = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise CheckpointError(
                        f"another process is training in `{folder}`; wait for it, or stop it"
                    ) from None
                time.sleep(0.2)
        yield


def _read(folder: Path) -> dict[str, object]:
    try:
        found = read_json(folder / RUN)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"`{folder / RUN}` is damaged ({error}); give another folder, or `--overwrite`"
        ) from None
    return found if isinstance(found, dict) else {}


def _empty(folder: Path) -> None:
    """Removes what runs write, `run.json` last: until then the folder is still the old run's."""
    for name in (*_OURS[1:], RUN):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
