"""Fingerprints: SHA-256 of canonical JSON and of files.

Equal values give equal hashes on every machine.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces, of mappings, sequences and plain values only."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def fingerprint(value: object) -> str:
    """64 hexadecimal digits that name a plain value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """64 hexadecimal digits of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path, names: tuple[str, ...] | None = None) -> dict[str, str]:
    """Relative path → SHA-256 of every file below `folder` (or of `names` alone), sorted."""
    files = [folder / n for n in names] if names else [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in sorted(files)}


def flatten(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, with dotted keys; lists stay whole."""
    flat: dict[str, object] = {}
    for key, item in value.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(item, Mapping) and item:
            flat |= flatten(item, path)
        else:
            flat[path] = item
    return flat
