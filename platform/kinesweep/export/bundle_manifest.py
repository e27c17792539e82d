"""The manifest of a bundle: writing, the check of all files, and the check before an overwrite.

`manifest.json` contains the SHA-256 of every other file. Feature stores and checkpoints have a file
of the same name, but only a bundle's manifest lists a model card, so a bundle is recognized by it.
"""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from kinesweep.checkpoints.checkpoints import PROGRESS_FILENAME
from kinesweep.config.parts import InstalledPart, check_required_parts, read_required_parts
from kinesweep.core.errors import BundleError, InputError
from kinesweep.core.hashing import compute_file_hashes, compute_file_sha256
from kinesweep.core.io import read_json, write_json
from kinesweep.export.model_card import CARD, FORMER_CARD
from kinesweep.store.format.writer import INDEX

_LOG = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_FORMAT = 1
COPY_AGAIN = ". Copy the bundle again"
"""Next step in the message about a damaged bundle; for one from the Hub it is another one."""
# Suffixes of files that Hugging Face, MLflow or Kinesweep would read. An unknown file with one of
# them could change what is loaded.
_LOADABLE_SUFFIXES = frozenset({".json", ".safetensors", ".bin", ".model", ".txt", ".yaml", ".py"})
# Maximum number of files in the message about a folder that is not a bundle.
_MAX_SHOWN_NAMES = 3


def write_bundle_manifest(bundle_dir: Path, parts: Sequence[dict[str, Any]] = ()) -> None:
    """Write the manifest of a bundle, with the SHA-256 of all files that the folder contains.

    Args:
        bundle_dir: Folder with all other files of the bundle, but without a manifest.
        parts: Parts of other packages that the model needs (`config.parts.required_parts`).
    """
    files = {"format": _FORMAT, "files": compute_file_hashes(bundle_dir)}
    # Only if there are any, so that the manifests of all other bundles stay the same.
    write_json(bundle_dir / MANIFEST, files | ({"parts": list(parts)} if parts else {}))


def check_output_dir(bundle_dir: Path, overwrite: bool) -> None:
    """Check that the folder of a bundle does not exist, or is a bundle that may be overwritten.

    A bundle of any format may be overwritten, even if files of it are damaged or missing; only its
    manifest must be readable.

    Args:
        bundle_dir: Folder of the bundle.
        overwrite: Whether an existing bundle may be overwritten.

    Raises:
        BundleError: If the path exists and either is not a bundle or must not be overwritten. The
            message says what is there.
    """
    if not bundle_dir.exists():
        return
    if not overwrite:
        raise BundleError(f"`{bundle_dir}` exists; give another folder, or `--overwrite`")
    # `--overwrite` must never delete a folder that is something else.
    if not is_bundle(bundle_dir):
        raise BundleError(
            f"`{bundle_dir}` is not a bundle but {_describe_other_content(bundle_dir)}, and is not"
            " overwritten; give another folder"
        )


def is_bundle(folder: Path) -> bool:
    """Return whether a folder has the manifest of a bundle, which lists the model card."""
    try:
        return not {CARD, FORMER_CARD}.isdisjoint(dict(read_json(folder / MANIFEST)["files"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _describe_other_content(path: Path) -> str:
    """Describe what a path that is not a bundle contains, as a noun phrase for messages."""
    if not path.is_dir():
        return "a file"
    if (path / INDEX).is_file():
        return "a feature store"
    if (path / MANIFEST).is_file() and (path / PROGRESS_FILENAME).is_file():
        return "a checkpoint"
    names = sorted(child.name for child in path.iterdir())
    if not names:
        return "an empty folder"
    names_text = ", ".join(f"`{name}`" for name in names[:_MAX_SHOWN_NAMES])
    num_others = len(names) - _MAX_SHOWN_NAMES
    return f"a folder with {names_text}" + (f" and {num_others} more" if num_others > 0 else "")


def check_bundle_files(bundle_dir: Path, unchecked: Collection[str] = ()) -> dict[str, str]:
    """Check every file of a bundle against its manifest, and that all parts it needs are installed.

    Hidden files and files that no loader reads (a license, a picture) may be added. A part in
    another version, or a model card that was edited, is logged as a warning.

    Args:
        bundle_dir: Folder of the bundle.
        unchecked: Files that may be missing or changed.

    Returns:
        Path of each file in the manifest, relative to the bundle → SHA-256.

    Raises:
        BundleError: If the folder is not a bundle or has another format, if its manifest is
            damaged, if a file is missing, changed or unexpected, or if a package of a part is not
            installed. The message names all of these files or packages.
    """
    file_digests = read_manifest_digests(bundle_dir)
    checked = {name: digest for name, digest in file_digests.items() if name not in unchecked}
    problems = [f"`{name}` is missing" for name in checked if not (bundle_dir / name).is_file()]
    changed_names = [
        name
        for name, digest in checked.items()
        if (bundle_dir / name).is_file() and compute_file_sha256(bundle_dir / name) != digest
    ]
    problems += [f"`{name}` was changed" for name in changed_names]
    existing_names = {
        path.relative_to(bundle_dir).as_posix() for path in bundle_dir.rglob("*") if path.is_file()
    }
    for name in sorted(existing_names - file_digests.keys() - {MANIFEST}):
        if Path(name).suffix in _LOADABLE_SUFFIXES and not name.startswith("."):
            problems.append(f"`{name}` is not listed in the manifest")
    # Nothing reads the card, and the website of the Hub invites its owner to edit it.
    if problems and not (len(problems) == 1 and changed_names in ([CARD], [FORMER_CARD])):
        raise BundleError(
            f"the bundle `{bundle_dir}` is damaged: {'; '.join(problems)}{COPY_AGAIN}"
        )
    if problems:
        _LOG.warning("the model card of `%s` was edited after the export", bundle_dir)
    for warning in check_manifest_parts(bundle_dir, f"the bundle `{bundle_dir}`"):
        _LOG.warning("%s", warning)
    return file_digests


def check_manifest_parts(folder: Path, description: str) -> list[str]:
    """Check that the parts of other packages that a bundle needs are installed.

    Args:
        folder: Folder with the manifest.
        description: Description of the bundle in messages.

    Returns:
        A warning for each part that is installed in another version.

    Raises:
        BundleError: If the manifest cannot be read, or a package is not installed. The message
            names all of these packages.
    """
    try:
        return check_required_parts(_read_manifest(folder)[1], description)
    except InputError as error:
        raise BundleError(str(error)) from None


def read_manifest_digests(folder: Path) -> dict[str, str]:
    """Read the digests of a bundle's files from its manifest.

    Returns:
        Path of each file, relative to the bundle → SHA-256.

    Raises:
        BundleError: If the folder is not a bundle or its manifest cannot be read.
    """
    return _read_manifest(folder)[0]


def read_manifest_sha256(folder: Path) -> str:
    """Return the SHA-256 of a bundle's manifest, which differs between any two bundles.

    Raises:
        BundleError: If the folder has no manifest that can be read.
    """
    try:
        return compute_file_sha256(folder / MANIFEST)
    except OSError as error:
        raise BundleError(f"`{folder}` is not a bundle: {MANIFEST}: {error.strerror}") from None


def _read_manifest(folder: Path) -> tuple[dict[str, str], list[InstalledPart]]:
    """Read the digests of a bundle's files, and the parts that it needs, from its manifest.

    Returns:
        Path of each file, relative to the bundle → SHA-256; and the parts of other packages.

    Raises:
        BundleError: If the folder is not a bundle or has another format, or its manifest is
            damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"`{folder}` is not a bundle: {MANIFEST} is missing")
    try:
        manifest = read_json(path)
        format_version, file_digests = manifest["format"], dict(manifest["files"])
        if not all(isinstance(text, str) for item in file_digests.items() for text in item):
            raise ValueError("`files` must map names of files to their SHA-256")
        parts = read_required_parts(manifest.get("parts", []))
    # `RecursionError`: anybody may have written the manifest of a bundle on the Hub.
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError(
            f"the bundle `{folder}` is damaged: `{MANIFEST}` cannot be read: {error}"
        ) from None
    if format_version != _FORMAT:
        raise BundleError(
            f"`{folder}` is a bundle of format {format_version}, but this version reads {_FORMAT};"
            " use the version of Kinesweep that the model card names"
        )
    return file_digests, parts
