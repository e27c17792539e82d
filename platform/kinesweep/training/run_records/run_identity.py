"""The identity of a run and the ownership of run folders.

Two runs with the same identity produce the same bits. A folder with the same identity is therefore
resumed or its result returned; a folder with another identity is refused. The numbers of threads
and workers, the torch and transformers versions and the processor's instruction set are part of the
identity, because each of them changes the bits.
"""

import platform
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kinesweep.config.parts import identify_parts
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.io import hold_lock_file, read_json, write_json

if TYPE_CHECKING:
    from kinesweep.store.format.reader import Store

RUN_FILE = "run.json"
RESULT_FILE = "result.json"
METRICS_FILE = "metrics.jsonl"
START_FILE = "start.json"
PARTS_FILE = "batch_parts.json"
_RUN_FILES = (
    RUN_FILE,
    RESULT_FILE,
    METRICS_FILE,
    START_FILE,
    PARTS_FILE,
    "checkpoints",
    "best",
    "predictions",
)
_LOCK_FILE = ".lock"
# A killed process may take a moment to exit, while an active one holds the folder for hours.
_MAX_LOCK_WAIT_S = 60.0


@dataclass(frozen=True)
class RunIdentity:
    """All inputs that determine the exact result of a run, bit by bit.

    Attributes:
        config_hash: Hash of the recipe without paths, and of the fingerprint of the store.
        seed: Random seed of the run.
        store: Fingerprint of the feature store.
        threads: Number of threads of each worker.
        workers: Number of workers.
        torch: Version of torch.
        transformers: Version of transformers.
        processor: GPU model, or instruction set of the CPU.
        chosen_tokenizer: Tokenizer that the scoring protocol `auto` chose for the texts, because it
            decides which checkpoint is the best. None for `13a`, which was the only one in earlier
            versions, and for a tokenizer that the recipe names.
        parts: `encoders.my_kind` of each part of another package → its package and version; None
            without any.
    """

    config_hash: str
    seed: int
    store: str
    threads: int
    workers: int
    torch: str
    transformers: str
    processor: str
    chosen_tokenizer: str | None = None
    parts: dict[str, str] | None = None


def build_run_identity(recipe: Recipe, store: "Store", workers: int) -> RunIdentity:
    """Build the identity of a run on this machine.

    Args:
        recipe: Recipe of the run; its hash covers nearly all sections.
        store: Feature store; its fingerprint stands for the data.
        workers: Number of workers.

    Raises:
        InputError: If no tokenizer suits the scripts of the texts and the recipe names none.
    """
    # Imported here because it takes seconds: `sweeps` and `report` need only the file names above.
    import torch
    import transformers

    from kinesweep.evaluation.tokenization.protocol import find_chosen_tokenizer

    return RunIdentity(
        config_hash=recipe.compute_config_hash(store.fingerprint),
        seed=recipe.training.seed,
        store=store.fingerprint,
        threads=recipe.resources.cpus,
        workers=workers,
        torch=torch.__version__,
        transformers=transformers.__version__,
        processor=get_processor_name(recipe.resources.gpus > 0),
        chosen_tokenizer=find_chosen_tokenizer(recipe.evaluation, store),
        parts=identify_parts(recipe) or None,
    )


def get_processor_name(on_gpu: bool) -> str:
    """Return the name of the processor on which a run computes.

    Args:
        on_gpu: Whether the run uses a GPU.

    Returns:
        GPU model; if `on_gpu` is False or PyTorch sees no GPU, the CPU's architecture and the
        instruction set that PyTorch's kernels use.
    """
    import torch

    if on_gpu and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def claim_run_dir(folder: Path, identity: RunIdentity, overwrite: bool) -> None:
    """Assign a folder to a run, or check that it already belongs to this run.

    A folder is assigned by writing the identity to `run.json`.

    Args:
        folder: Run folder; created if missing.
        identity: Identity of the run.
        overwrite: Whether to remove the training files of an earlier run first.

    Raises:
        CheckpointError: If the folder belongs to another run, its `run.json` is damaged, or it
            contains files of a run but no `run.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        _remove_run_files(folder)
    if not (folder / RUN_FILE).exists():
        # Unknown files are tolerated; files of a run without `run.json` would be taken for this
        # run's.
        existing_files = [name for name in _RUN_FILES if (folder / name).exists()]
        if existing_files:
            raise CheckpointError(
                f"`{folder}` contains `{existing_files[0]}` but no `{RUN_FILE}` that identifies its"
                " run; choose another folder, or give `--overwrite` to remove the existing run"
                " files"
            )
        write_json(folder / RUN_FILE, asdict(identity))
        return
    recorded_values = _read_run_file(folder)
    expected_values = asdict(identity)
    # Compare only known keys, so that additional keys of another version are no difference.
    different_keys = [
        key for key in expected_values if recorded_values.get(key) != expected_values[key]
    ]
    if different_keys:
        differences = "; ".join(
            f"{key} {recorded_values.get(key)!r} there, {expected_values[key]!r} here"
            for key in different_keys
        )
        raise CheckpointError(
            f"`{folder}` belongs to another run: {differences}. Choose another folder, or give"
            " `--overwrite` to remove the existing run"
        )


@contextmanager
def lock_run_dir(folder: Path, timeout_s: float = _MAX_LOCK_WAIT_S) -> Iterator[None]:
    """Hold the lock of a run folder within the `with` block.

    The operating system releases the lock of a killed process at once.

    Args:
        folder: Run folder; created if missing.
        timeout_s: Maximum waiting time in seconds.

    Raises:
        CheckpointError: If another process still holds the folder after `timeout_s` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # Only while the lock is taken: a `TimeoutError` of the training itself has another meaning.
        try:
            stack.enter_context(hold_lock_file(folder / _LOCK_FILE, timeout_s))
        except TimeoutError:
            raise CheckpointError(
                f"another process is training in `{folder}`; wait for it or stop it"
            ) from None
        yield


def _read_run_file(folder: Path) -> dict[str, object]:
    """Read the recorded identity of a run from `run.json` in its folder.

    Returns:
        Key → value; empty if the file holds JSON other than an object.

    Raises:
        CheckpointError: If the file cannot be read as JSON.
    """
    try:
        content = read_json(folder / RUN_FILE)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"`{folder / RUN_FILE}` is damaged ({error}); choose another folder, or give"
            " `--overwrite` to remove the existing run"
        ) from None
    return content if isinstance(content, dict) else {}


def _remove_run_files(folder: Path) -> None:
    """Remove the training files of a run (`_RUN_FILES`) from its folder, `run.json` last.

    Until then, the folder still belongs to the old run. The lock, the offline queue of tracking and
    Ray Train's state remain.
    """
    for name in (*_RUN_FILES[1:], RUN_FILE):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
