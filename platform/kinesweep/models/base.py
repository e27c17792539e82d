"""The base of a model: a saved language model that stays as it is, named, hashed, found again.

A checkpoint over a base holds what was trained and the base's name and content hash. The hash is
SHA-256 over names, types, shapes and bytes of the tensors in its safetensors files, in the order of
names: a copy that is cut into other files, or lies elsewhere, has the same; read as float32 or as 4
bits makes no difference. It reads every byte once a process, about 2 s a GB.
"""

import hashlib
import json
import mmap
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from kinesweep.core.errors import CheckpointError
from kinesweep.core.recipe.backbone import AnyBackbone
from kinesweep.models.backbones.pretrained import looks_local

BASES = "KINESWEEP_BASE_MODELS"
"""Environment variable: a folder in which bases are looked for by the last part of their name."""
_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header."""


def describe_base(config: AnyBackbone, rows: int) -> dict[str, Any]:
    """What a checkpoint says of its base: name and revision as given, hash, tokens it knows.

    Args:
        config: the backbone; it is `pretrained`.
        rows: tokens of the saved model, before the tokenizer's own were added.
    """
    name = config.pretrained or ""
    return {
        "name": name,
        "revision": config.revision,
        "sha256": base_sha256(name, config.revision),
        "rows": rows,
    }


def find_base(name: str, bases: str | Path | None = None) -> str:
    """Where a base is: the path it was given by, or below `bases`, or the hub.

    Args:
        name: folder or hub id, as in the recipe.
        bases: folder to look in; default: that of `KINESWEEP_BASE_MODELS`.

    Raises:
        CheckpointError: it is nowhere; says what to set.
    """
    if Path(name).is_dir():
        return name
    place = bases or os.environ.get(BASES)
    last = Path(name).name
    if place and (Path(place) / last).is_dir():
        return str(Path(place) / last)
    if not looks_local(name):
        return name
    looked = f"; nor is there a `{last}` in `{place}`" if place else ""
    raise CheckpointError(
        f"the model holds what was trained on the base model `{name}`, but there is no such folder"
        f"{looked}. Put the base model into a folder under the name `{last}` and set {BASES} to"
        " that folder (in Python: `from_pretrained(…, base_models=folder)`)"
    )


def check_base(base: dict[str, Any], place: str) -> None:
    """Refuses a base that is not the one a model was trained on.

    Raises:
        CheckpointError: another content; with both hashes.
    """
    found = base_sha256(place, base["revision"])
    if found != base["sha256"]:
        raise CheckpointError(
            f"the model was trained on the base model `{base['name']}` with content"
            f" {base['sha256']}, but `{place}` has content {found}. Give the same base model: the"
            f" same revision, in a folder that {BASES} names"
        )


def base_sha256(name: str, revision: str | None = None) -> str:
    """64 hexadecimal digits of a saved model's tensors.

    Raises:
        CheckpointError: no safetensors, or damaged ones.
    """
    files = _files(name, revision)
    # A file that was replaced is read again.
    stamps = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _sha256(stamps)


@lru_cache(maxsize=16)
def _sha256(stamps: tuple[tuple[str, int, int], ...]) -> str:
    """The hash of files that are as they were."""
    tensors: dict[str, tuple[Path, str, list[int], int, int]] = {}
    for path, *_ in stamps:
        tensors |= _tensors(Path(path))
    digest = hashlib.sha256()
    for name in sorted(tensors):
        file, dtype, shape, begin, end = tensors[name]
        digest.update(f"{name}|{dtype}|{tuple(shape)}|".encode())
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
            view[begin:end] as content,
        ):
            digest.update(content)
    return digest.hexdigest()


def _tensors(path: Path) -> dict[str, tuple[Path, str, list[int], int, int]]:
    """Name → file, type, shape, first byte and the one behind the last."""
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
        raise CheckpointError(
            f"`{path}` is no safetensors file that can be read: {error}"
        ) from None


def _files(name: str, revision: str | None) -> list[Path]:
    """The safetensors files of a folder or hub id, as Hugging Face would read them."""
    whole = _file(name, SAFE_WEIGHTS_NAME, revision)
    if whole is not None:
        return [whole]
    index = _file(name, SAFE_WEIGHTS_INDEX_NAME, revision)
    if index is None:
        raise CheckpointError(
            f"the base model `{name}` has no safetensors (`{SAFE_WEIGHTS_NAME}`); `save_pretrained`"
            " writes them"
        )
    parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    found = [_file(name, part, revision) for part in parts]
    missing = [part for part, path in zip(parts, found, strict=True) if path is None]
    if missing:
        raise CheckpointError(
            f"the base model `{name}` lacks `{missing[0]}`, which its index names"
        )
    return [path for path in found if path is not None]


def _file(name: str, file: str, revision: str | None) -> Path | None:
    """A file of a folder, or of the hub's cache; None where there is none."""
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
