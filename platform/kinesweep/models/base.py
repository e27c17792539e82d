"""Base models: saved language models whose weights are neither trained nor saved again.

A checkpoint over a base model stores the trained weights plus the name and content hash of the
base model. The hash is SHA-256 over the names, dtypes, shapes and bytes of the tensors in the
safetensors files, sorted by tensor name. It is the same if the files are resharded or moved, and
it does not depend on whether they are loaded as float32 or in 4 bits. Hashing reads every byte once
per process, about 2 s per GB.
"""

import hashlib
import json
import mmap
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from kinesweep.config.recipe.backbone import AnyBackbone
from kinesweep.core.errors import CheckpointError
from kinesweep.models.backbones.pretrained import is_local_path

BASE_MODELS_ENV = "KINESWEEP_BASE_MODELS"
"""Environment variable: folder in which base models are found by the last part of their name."""
# A safetensors file begins with the length of its JSON header, a little-endian integer.
_LENGTH_BYTES = 8


def build_base_model_entry(config: AnyBackbone, vocab_size: int) -> dict[str, Any]:
    """Build the base model's entry in a checkpoint: name, revision, hash and vocabulary size.

    Args:
        config: Config of the backbone, which must have `pretrained`.
        vocab_size: Vocabulary size of the saved base model, before tokens were added.
    """
    name = config.pretrained or ""
    return {
        "name": name,
        "revision": config.revision,
        "sha256": compute_base_model_sha256(name, config.revision),
        "rows": vocab_size,
    }


def find_base_model(name: str, base_models_dir: str | Path | None = None) -> str:
    """Find the path or hub id from which a base model can be loaded.

    The name itself is tried first, then the folder of that name in `base_models_dir`, then the hub.

    Args:
        name: Folder or hub id, as in the recipe.
        base_models_dir: Folder to search; None uses the environment variable
            `KINESWEEP_BASE_MODELS`.

    Raises:
        CheckpointError: If the base model is in none of these locations.
    """
    if Path(name).is_dir():
        return name
    search_dir = base_models_dir or os.environ.get(BASE_MODELS_ENV)
    folder_name = Path(name).name
    if search_dir and (Path(search_dir) / folder_name).is_dir():
        return str(Path(search_dir) / folder_name)
    # Only a name that can be a hub id is left to the hub; a path that does not exist is an error.
    if not is_local_path(name):
        return name
    searched = f", and `{search_dir}` contains no folder `{folder_name}`" if search_dir else ""
    raise CheckpointError(
        f"the model was trained on the base model `{name}`, but there is no such folder"
        f"{searched}. Put the base model into a folder named `{folder_name}` and set"
        f" {BASE_MODELS_ENV} to the folder"
        " that contains it (in Python: `from_pretrained(…, base_models=folder)`)"
    )


def check_base_model(base: dict[str, Any], path_or_id: str) -> None:
    """Check that a base model is the one a checkpoint was trained on.

    Args:
        base: Entry of the checkpoint, as written by `build_base_model_entry`.
        path_or_id: Folder or hub id of the base model that was found.

    Raises:
        CheckpointError: If the content hash differs; the message gives both hashes.
    """
    actual_sha256 = compute_base_model_sha256(path_or_id, base["revision"])
    if actual_sha256 != base["sha256"]:
        raise CheckpointError(
            f"the model was trained on the base model `{base['name']}` with content"
            f" {base['sha256']}, but `{path_or_id}` has content {actual_sha256}. Use the same base"
            " model in the"
            f" same revision, and set {BASE_MODELS_ENV} to the folder that contains it"
        )


def compute_base_model_sha256(name: str, revision: str | None = None) -> str:
    """Compute the SHA-256 hash of a saved model's tensors, as 64 hexadecimal digits.

    Raises:
        CheckpointError: If there are no safetensors files or they are damaged.
    """
    files = _find_safetensors_files(name, revision)
    # Part of the cache key, so a file that was replaced is hashed again.
    stamps = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _compute_tensors_sha256(stamps)


@lru_cache(maxsize=16)
def _compute_tensors_sha256(stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Compute the hash of all tensors of the files, cached by path, time and size."""
    tensors: dict[str, tuple[Path, str, list[int], int, int]] = {}
    for path, *_ in stamps:
        tensors |= _read_tensor_locations(Path(path))
    digest = hashlib.sha256()
    # Sorting by name makes the hash independent of how tensors are distributed over shards.
    for name in sorted(tensors):
        file, dtype, shape, begin, end = tensors[name]
        digest.update(f"{name}|{dtype}|{tuple(shape)}|".encode())
        # Map the file instead of reading it: a shard can be larger than the available memory.
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
            view[begin:end] as content,
        ):
            digest.update(content)
    return digest.hexdigest()


def _read_tensor_locations(path: Path) -> dict[str, tuple[Path, str, list[int], int, int]]:
    """Read the header of a safetensors file.

    Returns:
        Tensor name → (file, dtype, shape, first byte, byte after the last).
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header = json.loads(file.read(length))
        start = _LENGTH_BYTES + length
        header.pop("__metadata__", None)
        return {
            name: (
                path,
                entry["dtype"],
                entry["shape"],
                *(start + offset for offset in entry["data_offsets"]),
            )
            for name, entry in header.items()
        }
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"`{path}` cannot be read as a safetensors file: {error}") from None


def _find_safetensors_files(name: str, revision: str | None) -> list[Path]:
    """Find the safetensors files of a folder or hub id that Hugging Face would load."""
    single_path = _find_model_file(name, SAFE_WEIGHTS_NAME, revision)
    if single_path is not None:
        return [single_path]
    index = _find_model_file(name, SAFE_WEIGHTS_INDEX_NAME, revision)
    if index is None:
        raise CheckpointError(
            f"the base model `{name}` has no safetensors file (`{SAFE_WEIGHTS_NAME}`); save it with"
            " `save_pretrained`"
        )
    shard_names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    shard_paths = [_find_model_file(name, shard_name, revision) for shard_name in shard_names]
    missing = [part for part, path in zip(shard_names, shard_paths, strict=True) if path is None]
    if missing:
        raise CheckpointError(
            f"the base model `{name}` lacks `{missing[0]}`, which its index lists"
        )
    return [path for path in shard_paths if path is not None]


def _find_model_file(name: str, file: str, revision: str | None) -> Path | None:
    """Find a file in a folder or in the hub's cache; None if it does not exist."""
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    try:
        cached_path = cached_file(
            name,
            file,
            revision=revision or "main",
            _raise_exceptions_for_missing_entries=False,
        )
    except OSError as error:
        text = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the base model `{name}` cannot be read: {text}") from None
    return None if cached_path is None else Path(cached_path)
