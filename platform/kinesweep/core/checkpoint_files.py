"""Lookup and hashing of the weights in a model folder."""

from functools import lru_cache
from pathlib import Path

from kinesweep.core.errors import CheckpointError
from kinesweep.core.hashing import file_sha256

WEIGHTS = "model.safetensors"
_BEST = "best"


def find_weights(folder: Path) -> Path:
    """Return the weights file of a model folder, or of the best model in a run folder.

    Args:
        folder: Value of `model.init_from`.

    Raises:
        CheckpointError: If the folder is neither a model folder nor a run folder.
    """
    for place in (folder, folder / _BEST):
        if (place / WEIGHTS).is_file() and (place / "config.json").is_file():
            return place / WEIGHTS
    raise CheckpointError(
        f"`model.init_from` is `{folder}`, which is not a model folder. Give the `best` folder of a"
        " finished run, or an exported bundle."
    )


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of a model folder's weights.

    Raises:
        CheckpointError: If the folder is neither a model folder nor a run folder.
    """
    path = find_weights(folder)
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest(path: Path, num_bytes: int, changed_ns: int) -> str:
    """Hash a file once per process; the size and modification time are part of the cache key."""
    del num_bytes, changed_ns  # only part of the cache key
    return file_sha256(path)
