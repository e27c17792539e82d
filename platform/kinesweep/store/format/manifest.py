"""The manifest of a store: read and checked, together with the files that it lists."""

import json
from pathlib import Path
from typing import Any

from kinesweep.core.errors import StoreError
from kinesweep.core.hashing import compute_file_sha256, compute_fingerprint
from kinesweep.store.format.fingerprint import STORE_FORMAT
from kinesweep.store.format.writer import INDEX, MANIFEST


def read_store_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a store, and check the size of every file and the SHA-256 of its index.

    Args:
        folder: Folder of the store.

    Returns:
        Content of the manifest, without its checksum.

    Raises:
        StoreError: If there is no store, it has another format, or it is damaged.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(
            f"`{folder}` contains no feature store ({MANIFEST} is missing); run `kinesweep extract`"
        ) from None
    except (OSError, ValueError) as error:
        raise make_damage_error(path, str(error)) from None
    if not isinstance(manifest, dict) or manifest.get("format") != STORE_FORMAT:
        actual_format = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise StoreError(
            f"`{folder}` is a store of format {actual_format!r}, but this version reads format"
            f" {STORE_FORMAT}; run `kinesweep extract` again"
        )
    # After the format, so that a store of another format is not reported as damaged.
    checksum = manifest.pop("checksum", None)
    # The writer computed the checksum before it was added, hence over the other keys alone.
    if checksum != compute_fingerprint(manifest):
        raise make_damage_error(path, "its checksum is wrong")
    _check_store_files(folder, manifest)
    return manifest


def _check_store_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Check the size of every file of a store and the SHA-256 of its index.

    Args:
        folder: Folder of the store.
        manifest: Content of the manifest.

    Raises:
        StoreError: If a file is missing or a check fails; the message names the first such file.
    """
    for name, expected in manifest["files"].items():
        path = folder / name
        num_bytes = path.stat().st_size if path.is_file() else None
        if num_bytes != expected["bytes"]:
            actual_state = "missing" if num_bytes is None else f"{num_bytes} bytes long"
            raise make_damage_error(
                path, f"it is {actual_state}, but should have {expected['bytes']} bytes"
            )
    # Only the index is hashed: opening reads it anyway, but leaves the shards unread.
    if compute_file_sha256(folder / INDEX) != manifest["files"][INDEX]["sha256"]:
        raise make_damage_error(folder / INDEX, "its SHA-256 is wrong")


def make_damage_error(path: Path, reason: str) -> StoreError:
    """Build the error for a damaged file of a store, which the caller raises.

    Args:
        path: Path of the damaged file.
        reason: Description of the damage, without a full stop.
    """
    return StoreError(
        f"`{path}` is damaged: {reason}. Remove the store's folder and extract again."
    )
