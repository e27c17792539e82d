"""Where the weights of a model folder lie, and what names them."""

from functools import lru_cache
from pathlib import Path

from kinesweep.core.errors import CheckpointError
from kinesweep.core.hashing import file_sha256

WEIGHTS = "model.safetensors"
_BEST = "best"


def weights_of(folder: Path) -> Path:
    """The weights of a model folder, or of the best model of a run's folder.

    Raises:
        CheckpointError: neither.
    """
    for place in (folder, folder / _BEST):
        if (place / WEIGHTS).is_file() and (place / "config.json").is_file():
            return place / WEIGHTS
    raise CheckpointError(
        f"`model.init_from` is `{folder}`, which is no model folder. Give the `best` folder of a"
        " finished run, or an exported bundle."
    )


def weights_digest(folder: Path) -> str:
    """SHA-256 of a model folder's weights.

    Raises:
        CheckpointError: no model folder.
    """
    path = weights_of(folder)
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest(path: Path, num_bytes: int, changed_ns: int) -> str:
    """Read once a process, as long as size and time stay."""
    del num_bytes, changed_ns
    return file_sha256(path)
