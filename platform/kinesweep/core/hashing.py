"""Fingerprints: SHA-256 hashes of canonical JSON and of files.

Equal values have equal hashes on every machine.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path


def to_canonical_json(value: object) -> str:
    """Serialize mappings, sequences and plain values as JSON with sorted keys and no spaces.

    Raises:
        ValueError: If the value contains NaN or infinity, which have no JSON form.
        TypeError: If the value contains an object that JSON cannot represent.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def compute_fingerprint(value: object) -> str:
    """Compute the SHA-256 of a plain value's canonical JSON, as 64 hexadecimal digits.

    Raises:
        ValueError: If the value contains NaN or infinity.
        TypeError: If the value contains an object that JSON cannot represent.
    """
    return hashlib.sha256(to_canonical_json(value).encode()).hexdigest()


def compute_file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's content, as 64 hexadecimal digits.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:  # `file_digest` reads in blocks, so large files are no problem
        return hashlib.file_digest(file, "sha256").hexdigest()


def compute_file_hashes(folder: Path, names: tuple[str, ...] | None = None) -> dict[str, str]:
    """Compute the SHA-256 of each file below a folder, or of the named files only.

    Args:
        folder: Folder whose files are hashed.
        names: Paths of the files relative to `folder`; None or empty: all files below it.

    Returns:
        Relative path → SHA-256 as 64 hexadecimal digits, sorted by path.

    Raises:
        OSError: If a named file does not exist or a file cannot be read.
    """
    paths = (
        [folder / name for name in names]
        if names
        else [path for path in folder.rglob("*") if path.is_file()]
    )
    # `rglob` follows the order of the file system, which differs between machines.
    return {
        path.relative_to(folder).as_posix(): compute_file_sha256(path) for path in sorted(paths)
    }


def flatten_mapping(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Flatten nested mappings into one with dotted keys; lists and empty mappings stay values.

    Args:
        value: Mapping whose values may be mappings.
        prefix: Dotted path of `value` itself, put before each key; empty for none.
    """
    flat: dict[str, object] = {}
    for key, item in value.items():
        path = f"{prefix}.{key}" if prefix else key
        # An empty mapping has no keys to flatten and would disappear.
        if isinstance(item, Mapping) and item:
            flat |= flatten_mapping(item, path)
        else:
            flat[path] = item
    return flat
