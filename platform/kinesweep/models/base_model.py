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
from typing import Any, NamedTuple

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from kinesweep.config.recipe.model.backbone import AnyBackbone
from kinesweep.core.errors import CheckpointError
from kinesweep.core.paths import is_local_path

BASE_MODELS_ENV = "KINESWEEP_BASE_MODELS"
"""Environment variable: folder in which base models are found by the last part of their name."""
# A safetensors file begins with the length of its JSON header, a little-endian integer.
_LENGTH_BYTES = 8


def build_base_model_entry(config: AnyBackbone, vocab_size: int) -> dict[str, Any]:
    """Build the base model's entry in a checkpoint: name, revision, hash and vocabulary size.

    Args:
        config: Config of the backbone, which must have `pretrained`.
        vocab_size: Vocabulary size of the saved base model, before tokens were added.

    Returns:
        `name`, `revision` (None: the latest), `sha256`, and `rows`, the vocabulary size.

    Raises:
        CheckpointError: If the base model has no safetensors files, they are damaged, or the hub
            cannot be read.
    """
    name = config.pretrained or ""
    return {
        "name": name,
        "revision": config.revision,
        "sha256": compute_base_model_sha256(name, config.revision),
        "rows": vocab_size,
    }


def find_base_model(name: str, base_models_dir: str | Path | None = None) -> str:
    """Find the folder or hub id from which a base model can be loaded.

    The name itself is tried first, then the folder of that name in `base_models_dir`, then the hub.
    Whether the hub has the model is not checked.

    Args:
        name: Folder or hub id, as in the recipe.
        base_models_dir: Folder to search; None uses the environment variable
            `KINESWEEP_BASE_MODELS`.

    Raises:
        CheckpointError: If there is no such folder and the name cannot be a hub id.
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
        CheckpointError: If the content hash differs, in which case the message gives both hashes,
            or if the base model cannot be read.
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

    Files of a hub id are downloaded into Hugging Face's cache if they are not there. The hash is
    cached in this process until the path, size or modification time of a file changes.

    Args:
        name: Folder or hub id of the saved model.
        revision: Revision of a hub id; None: the latest.

    Raises:
        CheckpointError: If there are no safetensors files, they are damaged, or the hub cannot be
            read.
    """
    paths = _find_safetensors_files(name, revision)
    # Part of the cache key, so a file that was replaced is hashed again.
    file_stamps = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    return _compute_tensors_sha256(file_stamps)


class _TensorLocation(NamedTuple):
    """The location of a tensor's bytes in a safetensors file.

    Attributes:
        path: Safetensors file.
        dtype: Data type, in the notation of safetensors.
        shape: Shape of the tensor.
        begin: Position of the first byte in the file.
        end: Position after the last byte.
    """

    path: Path
    dtype: str
    shape: list[int]
    begin: int
    end: int


@lru_cache(maxsize=16)
def _compute_tensors_sha256(file_stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Compute the hash of all tensors in some safetensors files, as 64 hexadecimal digits.

    Args:
        file_stamps: Path, modification time in ns and size in bytes of each file; time and size
            only make the cached hash invalid when a file changes.

    Raises:
        CheckpointError: If a header cannot be read.
    """
    locations: dict[str, _TensorLocation] = {}
    for path, *_ in file_stamps:
        locations |= _read_tensor_locations(Path(path))
    digest = hashlib.sha256()
    # Sorting by name makes the hash independent of how tensors are distributed over shards.
    for name, location in sorted(locations.items()):
        digest.update(f"{name}|{location.dtype}|{tuple(location.shape)}|".encode())
        # Map the file instead of reading it: a shard can be larger than the available memory.
        with (
            location.path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
            view[location.begin : location.end] as content,
        ):
            digest.update(content)
    return digest.hexdigest()


def _read_tensor_locations(path: Path) -> dict[str, _TensorLocation]:
    """Read from the header of a safetensors file where its tensors lie, by tensor name.

    Raises:
        CheckpointError: If the file cannot be read or has no valid header.
    """
    try:
        with path.open("rb") as file:
            header_length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header = json.loads(file.read(header_length))
        data_start = _LENGTH_BYTES + header_length
        header.pop("__metadata__", None)
        locations = {}
        for name, entry in header.items():
            begin, end = (data_start + offset for offset in entry["data_offsets"])
            locations[name] = _TensorLocation(path, entry["dtype"], entry["shape"], begin, end)
        return locations
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"`{path}` cannot be read as a safetensors file: {error}") from None


def _find_safetensors_files(name: str, revision: str | None) -> list[Path]:
    """Find the safetensors files of a folder or hub id that Hugging Face would load.

    Files of a hub id are downloaded into Hugging Face's cache if they are not there.

    Returns:
        A single file, or the shards that the index lists, sorted by name.

    Raises:
        CheckpointError: If there is no safetensors file, a shard is missing, or the hub cannot be
            read.
    """
    single_path = _find_model_file(name, SAFE_WEIGHTS_NAME, revision)
    if single_path is not None:
        return [single_path]
    index_path = _find_model_file(name, SAFE_WEIGHTS_INDEX_NAME, revision)
    if index_path is None:
        raise CheckpointError(
            f"the base model `{name}` has no safetensors file (`{SAFE_WEIGHTS_NAME}`); save it with"
            " `save_pretrained`"
        )
    weight_map = json.loads(index_path.read_text(encoding="utf-8"))["weight_map"]
    shard_names = sorted(set(weight_map.values()))
    shard_paths = [_find_model_file(name, shard_name, revision) for shard_name in shard_names]
    missing = [
        shard_name
        for shard_name, path in zip(shard_names, shard_paths, strict=True)
        if path is None
    ]
    if missing:
        raise CheckpointError(
            f"the base model `{name}` lacks `{missing[0]}`, which its index lists"
        )
    return [path for path in shard_paths if path is not None]


def _find_model_file(name: str, file_name: str, revision: str | None) -> Path | None:
    """Find a file of a saved model in its folder, or fetch it from the hub into the cache.

    Args:
        name: Folder or hub id of the saved model.
        file_name: Name of the file in the folder.
        revision: Revision of a hub id; None: the latest.

    Returns:
        Path of the file; None if the folder or the hub does not have it.

    Raises:
        CheckpointError: If the hub cannot be read.
    """
    if Path(name).is_dir():
        path = Path(name) / file_name
        return path if path.is_file() else None
    try:
        cached_path = cached_file(
            name,
            file_name,
            revision=revision or "main",
            _raise_exceptions_for_missing_entries=False,
        )
    except OSError as error:
        text = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the base model `{name}` cannot be read: {text}") from None
    return None if cached_path is None else Path(cached_path)
