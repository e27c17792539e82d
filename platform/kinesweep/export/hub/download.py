"""Download of a bundle from the Hugging Face Hub into the cache of `huggingface_hub`.

The manifest comes first, and only its files are fetched, all of one commit: whatever else a
repository holds never reaches this machine. Files that could contain code are refused, and every
file is compared with the manifest before anything reads it.
"""

import glob
from pathlib import Path
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import BundleError, HubError
from kinesweep.export.bundle import read_bundle_recipe
from kinesweep.export.bundle_manifest import (
    COPY_AGAIN,
    MANIFEST,
    check_bundle_files,
    check_manifest_parts,
    read_manifest_digests,
)
from kinesweep.export.hub.card_metadata import LIBRARY_NAME
from kinesweep.export.hub.hub_errors import name_hub_errors
from kinesweep.export.hub.repo_names import check_repo_name, is_hub_name
from kinesweep.export.hub.safe_files import check_file_kinds
from kinesweep.export.model_card import CARD
from kinesweep.version import __version__


def find_bundle_dir(name: str | Path, revision: str | None = None, **options: Any) -> Path:
    """Return the folder of a bundle, which is downloaded first if its name is one on the Hub.

    Args:
        name: Folder of a bundle, or `OWNER/NAME`.
        revision: Branch, tag or commit on the Hub. None: the default branch.
        **options: Arguments of `huggingface_hub.snapshot_download`, such as `cache_dir`.

    Raises:
        BundleError: If a downloaded bundle is damaged, or could run code.
        HubError: If the Hub cannot be reached, or has no such bundle.
        InputError: If a revision is given for a folder.
    """
    if not is_hub_name(name, revision):
        return Path(name)
    return download_bundle(str(name), revision, **options)


def find_checked_bundle_dir(name: Path, revision: str | None = None) -> Path:
    """Return the folder of a bundle, all of whose files are checked; see `find_bundle_dir`.

    Raises:
        BundleError: If there is no bundle, or it is damaged.
    """
    folder = find_bundle_dir(name, revision)
    # A bundle from the Hub was checked, except for its card, which may be edited there.
    if folder == name:
        check_bundle_files(folder)
    return folder


def find_bundle_recipe(name: Path, revision: str | None = None) -> tuple[Path, Recipe]:
    """Return the folder and the recipe of a bundle, whose files are checked.

    The arguments and further errors are those of `find_bundle_dir`.

    Raises:
        BundleError: If there is no bundle, or it is damaged or of an incompatible version.
    """
    folder = find_checked_bundle_dir(name, revision)
    return folder, read_bundle_recipe(folder, skip_file_check=True)


def download_bundle(repo: str, revision: str | None = None, **options: Any) -> Path:
    """Download a bundle, or find it in the cache, and check all of its files.

    Without a network, or with `HF_HUB_OFFLINE`, the cached bundle is returned.

    Args:
        repo: Name of the repository, `OWNER/NAME`.
        revision: Branch, tag or commit. None: the default branch.
        **options: Arguments of `huggingface_hub.snapshot_download`, such as `cache_dir`.

    Returns:
        Folder in the cache.

    Raises:
        BundleError: If the bundle is damaged, or contains files that could run code.
        HubError: If the Hub cannot be reached, or has no such bundle.
        InputError: If the name is invalid.
    """
    check_repo_name(repo)
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    options |= {"library_name": LIBRARY_NAME, "library_version": __version__}
    with name_hub_errors(repo):
        try:
            manifest_path = Path(hf_hub_download(repo, MANIFEST, revision=revision, **options))
        # A subclass of the next one, which means that the Hub did not answer.
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            raise HubError(f"`{repo}` is not a bundle: {MANIFEST} is missing") from None
        # Before any file but the manifest is fetched.
        _check_manifest(repo, manifest_path.parent)
        digests = read_manifest_digests(manifest_path.parent)
        # The cache has a folder for each commit, so that all files are of the same one.
        folder = Path(
            snapshot_download(
                repo,
                # The commit of the manifest, because a branch may have moved in the meantime.
                revision=manifest_path.parent.name,
                allow_patterns=[glob.escape(name) for name in (*digests, MANIFEST)],
                **options,
            )
        )
    try:
        # The card may be edited on the Hub, whose website offers that; no loader reads it.
        check_bundle_files(folder, unchecked={CARD})
    except BundleError as error:
        raise BundleError(
            f"`{repo}` was not loaded: {str(error).removesuffix(COPY_AGAIN)}. Remove its cached"
            f" copy with `hf cache rm model/{repo}` and load it again; if it stays damaged, tell"
            " its owner"
        ) from None
    return folder


def _check_manifest(repo: str, folder: Path) -> None:
    """Check what the manifest alone tells: the kinds of files, and the packages that are needed.

    Args:
        repo: Name of the repository, `OWNER/NAME`.
        folder: Folder with the manifest.

    Raises:
        BundleError: If the manifest is damaged, lists files that could run code, or a package is
            not installed.
    """
    try:
        digests = read_manifest_digests(folder)
    except BundleError as error:
        raise BundleError(f"`{repo}` was not loaded: {error}; tell its owner") from None
    check_file_kinds(repo, digests)
    try:
        check_manifest_parts(folder, f"the bundle `{repo}`")
    except BundleError as error:
        # Whoever wrote the manifest chose the packages that the message names.
        raise BundleError(
            f"{error}. Packages run code, so install only those of authors whom you trust"
        ) from None
