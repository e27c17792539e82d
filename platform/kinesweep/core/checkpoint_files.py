"""Lookup and hashing of the weights in a model folder."""

from functools import lru_cache
from pathlib import Path

from kinesweep.core.errors import CheckpointError
from kinesweep.core.hashing import compute_file_sha256, compute_fingerprint

WEIGHTS_FILENAME = "model.safetensors"
"""Name of the weights file in model folders and checkpoints (Hugging Face's name)."""
OBJECTIVE_FILENAME = "objective.safetensors"
"""Name of the file with the weights that only a training objective needs, such as a decoder."""
_BEST_DIR = "best"


def find_weights_file(folder: Path) -> Path:
    """Return the weights file of a model folder, or of the best model in a run folder.

    Args:
        folder: Value of `model.init_from`: a model folder, or a run folder with a best model.

    Raises:
        CheckpointError: If neither the folder nor its subfolder `best` contains both
            `model.safetensors` and `config.json`.
    """
    for candidate_dir in (folder, folder / _BEST_DIR):
        if (candidate_dir / WEIGHTS_FILENAME).is_file() and (
            candidate_dir / "config.json"
        ).is_file():
            return candidate_dir / WEIGHTS_FILENAME
    raise CheckpointError(
        f"`model.init_from` is `{folder}`, which is not a model folder. Give the `best` folder of a"
        " finished run, or an exported bundle."
    )


def compute_weights_digest(folder: Path) -> str:
    """Compute the SHA-256 of the weights file in a model folder, as 64 hexadecimal digits.

    The digest is cached in this process until the size or the modification time changes.

    Args:
        folder: Model folder, or run folder with a best model.

    Raises:
        CheckpointError: If the folder is neither a model folder nor a run folder.
    """
    return compute_cached_sha256(find_weights_file(folder))


def compute_cached_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, cached in this process until its size or time changes.

    Raises:
        OSError: If the file cannot be read.
    """
    file_stat = path.stat()
    return _compute_cached_digest(path, file_stat.st_size, file_stat.st_mtime_ns)


def compute_pretrained_digest(name: str | None) -> str | None:
    """Compute a hash of the weights of a local pretrained model, as 64 hexadecimal digits.

    Args:
        name: Path of a file or a folder, or a hub id.

    Returns:
        Hash of the file, or of all `*.safetensors` files of the folder; None if there are none, as
        for a hub id.
    """
    if not name:
        return None
    path = Path(name)
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    digests = [compute_cached_sha256(file) for file in files]
    if len(digests) < 2:
        return digests[0] if digests else None
    return compute_fingerprint(digests)


@lru_cache(maxsize=16)
def _compute_cached_digest(path: Path, num_bytes: int, mtime_ns: int) -> str:
    """Return the SHA-256 of a file, cached by path, size and modification time."""
    del num_bytes, mtime_ns  # only part of the cache key
    return compute_file_sha256(path)
