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
from kinesweep.models.backbones.pretrained import looks_local

BASES = "KINESWEEP_BASE_MODELS"
"""Environment variable: folder in which base models are found by the last part of their name."""
# A safetensors file begins with the length of its JSON header, a little-endian integer.
_LENGTH_BYTES = 8


def describe_base(config: AnyBackbone, rows: int) -> dict[str, Any]:
    """Return the base model's entry in a checkpoint: name, revision, hash and number of tokens.

    Args:
        config: Config of the backbone, which must have `pretrained`.
        rows: Vocabulary size of the saved base model, before tokens were added.
    """
    name = config.pretrained or ""
    return {
        "name": name,
        "revision": config.revision,
        "sha256": base_sha256(name, config.revision),
        "rows": rows,
    }


def find_base(name: str, bases: str | Path | None = None) -> str:
    """Return the path or hub id from which a base model can be loaded.

    The name itself is tried first, then the folder of that name in `bases`, then the hub.

    Args:
        name: Folder or hub id, as in the recipe.
        bases: Folder to search; None uses the environment variable `KINESWEEP_BASE_MODELS`.

    Raises:
        CheckpointError: If the base model is in none of these places.
    """
    if Path(name).is_dir():
        return name
    place = bases or os.environ.get(BASES)
    last = Path(name).name
    if place and (Path(place) / last).is_dir():
        return str(Path(place) / last)
    # Only a name that can be a hub id is left to the hub; a path that does not exist is an error.
    if not looks_local(name):
        return name
    looked = f", and `{place}` contains no folder `{last}`" if place else ""
    raise CheckpointError(
        f"the model was trained on the base model `{name}`, but there is no such folder"
        f"{looked}. Put the base model into a folder named `{last}` and set {BASES} to the folder"
        " that contains it (in Python: `from_pretrained(…, base_models=folder)`)"
    )


def check_base(base: dict[str, Any], place: str) -> None:
    """Check that a base model is the one a checkpoint was trained on.

    Args:
        base: Entry of the checkpoint, as written by `describe_base`.
        place: Folder or hub id of the base model that was found.

    Raises:
        CheckpointError: If the content hash differs; the message gives both hashes.
    """
    found = base_sha256(place, base["revision"])
    if found != base["sha256"]:
        raise CheckpointError(
            f"the model was trained on the base model `{base['name']}` with content"
            f" {base['sha256']}, but `{place}` has content {found}. Use the same base model in the"
            f" same revision, and set {BASES} to the folder that contains it"
        )


def base_sha256(name: str, revision: str | None = None) -> str:
    """Return the SHA-256 hash of a saved model's tensors, as 64 hexadecimal digits.

    Raises:
        CheckpointError: If there are no safetensors files or they are damaged.
    """
    files = _files(name, revision)
    # Part of the cache key, so a file that was replaced is hashed again.
    stamps = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _sha256(stamps)


@lru_cache(maxsize=16)
def _sha256(stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Return the hash of these files, cached by path, modification time and size."""
    tensors: dict[str, tuple[Path, str, list[int], int, int]] = {}
    for path, *_ in stamps:
        tensors |= _tensors(Path(path))
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


def _tensors(path: Path) -> dict[str, tuple[Path, str, list[int], int, int]]:
    """Return name → (file, dtype, shape, first byte, byte after the last) from the header."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header = json.loads(file.read(length))
        start = _LENGTH_BYTES + length
        header.pop("__metadata__", None)
        return {
            name: (path, of["dtype"], of["shape"], *(start + at for at in of["data_offsets"]))
            for name, of in header.items()
        }
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"`{path}` cannot be read as a safetensors file: {error}") from None


def _files(name: str, revision: str | None) -> list[Path]:
    """Return the safetensors files of a folder or hub id that Hugging Face would load."""
    whole = _file(name, SAFE_WEIGHTS_NAME, revision)
    if whole is not None:
        return [whole]
    index = _file(name, SAFE_WEIGHTS_INDEX_NAME, revision)
    if index is None:
        raise CheckpointError(
            f"the base model `{name}` has no safetensors file (`{SAFE_WEIGHTS_NAME}`); save it with"
            " `save_pretrained`"
        )
    parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    found = [_file(name, part, revision) for part in parts]
    missing = [part for part, path in zip(parts, found, strict=True) if path is None]
    if missing:
        raise CheckpointError(
            f"the base model `{name}` lacks `{missing[0]}`, which its index lists"
        )
    return [path for path in found if path is not None]


def _file(name: str, file: str, revision: str | None) -> Path | None:
    """Return a file of a folder or of the hub's cache, or None if it does not exist."""
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    try:
        found = cached_file(
            name,
            file,
            revision=revision or "main",
            _raise_exceptions_for_missing_entries=False,
        )
    except OSError as error:
        text = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the base model `{name}` cannot be read: {text}") from None
    return None if found is None else Path(found)
