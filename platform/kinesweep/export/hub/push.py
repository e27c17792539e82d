"""Upload of a bundle to the Hugging Face Hub, as one commit that is verified afterwards.

Only the files of the manifest are uploaded. A repository that holds an earlier bundle gets a new
version, without the files that only the earlier one had; a repository with anything else is
refused. The token is the one that `huggingface_hub` finds (`hf auth login`, `HF_TOKEN`).
"""

import glob
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinesweep.core.errors import BundleError, HubError
from kinesweep.core.hashing import compute_file_sha256
from kinesweep.core.html_table import format_html_key_values
from kinesweep.core.io import read_json
from kinesweep.export.bundle_manifest import MANIFEST, check_bundle_files, is_bundle
from kinesweep.export.hub.card_metadata import LIBRARY_NAME
from kinesweep.export.hub.hub_errors import OFFLINE, name_hub_errors
from kinesweep.export.hub.repo_names import check_repo_name
from kinesweep.export.hub.safe_files import check_file_kinds
from kinesweep.export.model_card import CARD
from kinesweep.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

# Files that the Hub itself writes into a new repository.
_HUB_FILES = frozenset({".gitattributes"})
_MAX_SHOWN_NAMES = 3
_EDITED_CARD = (
    "the card of `%s` was edited on the Hub and is replaced; its text stays in commit %s. What"
    " `export.card` states is on every new card"
)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PushedBundle:
    """A bundle on the Hub whose files were verified.

    Attributes:
        repo: Name of the repository, `OWNER/NAME`.
        url: Address of the commit.
        revision: Hash of the commit, which `load_bundle` takes as `revision`.
        num_files: Number of files that were compared with the local ones.
    """

    repo: str
    url: str
    revision: str
    num_files: int

    def _repr_html_(self) -> str:
        """Return the address and the revision as HTML, which notebooks show."""
        return format_html_key_values("Bundle on the Hub", vars(self))


def push_bundle(
    bundle_dir: Path,
    repo: str,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
) -> PushedBundle:
    """Upload a bundle and verify that the Hub holds the same files.

    An interrupted upload is continued by the same call: files that arrived are not sent again.

    Args:
        bundle_dir: Folder of the bundle; the files of its manifest are uploaded.
        repo: Name of the repository, `OWNER/NAME`; a missing one is created.
        private: Whether a new repository is private; an existing one must be.
        revision: Branch, which is created from the default branch if it is missing. None: the
            default branch.
        message: Message of the commit. None: it names the version of Kinesweep.

    Raises:
        BundleError: If the folder is no bundle or is damaged, or has files that are not
            safetensors or text.
        HubError: If there is no token or no permission, the Hub does not answer, the repository
            holds something else or is public although `private` is set, or the uploaded files
            differ.
        InputError: If the name of the repository is invalid.
    """
    api = check_push(repo)
    digests = check_bundle_files(bundle_dir)
    if CARD not in digests:
        raise BundleError(
            f"`{bundle_dir}` was exported by an earlier version and has no `{CARD}`, which the Hub"
            " shows; export the run again"
        )
    check_file_kinds(str(bundle_dir), digests)
    names = [*digests, MANIFEST]
    with name_hub_errors(repo):
        # None keeps the default of the organization, which may be private.
        api.create_repo(repo, private=private or None, exist_ok=True)
        info = api.model_info(repo)
        # `create_repo` ignores `private` if the repository exists.
        if private and not info.private:
            raise HubError(
                f"`{repo}` exists and is public; make it private in its settings, or omit"
                " `--private`"
            )
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
            info = api.model_info(repo, revision=revision)
        replaced_names = _list_replaced_names(api, repo, info.sha)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=bundle_dir,
            allow_patterns=[glob.escape(name) for name in names],
            # Only what an earlier bundle brought: a license or a picture of the owner stays.
            delete_patterns=[glob.escape(name) for name in replaced_names - {*names}] or None,
            revision=revision,
            # Refused if somebody else commits in the meantime, instead of mixing two bundles.
            parent_commit=info.sha,
            commit_message=message or f"Upload a bundle of Kinesweep {__version__}",
        )
        commit_hash = str(commit.oid)
        _verify_files(api, repo, commit_hash, bundle_dir, names)
    return PushedBundle(repo, str(commit.commit_url), commit_hash, len(names))


def check_push(repo: str) -> "HfApi":
    """Check what can be checked of a push without a request, and return a client of the Hub.

    Args:
        repo: Name of the repository.

    Raises:
        HubError: If there is no token, or the Hub must not be asked.
        InputError: If the name of the repository is invalid.
    """
    check_repo_name(repo)
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.constants import is_offline_mode

    if is_offline_mode():
        raise HubError(OFFLINE.format(repo=repo))
    if get_token() is None:
        raise HubError(
            f"there is no token to write to `{repo}`; run `hf auth login`, or set `HF_TOKEN`"
        )
    return HfApi(library_name=LIBRARY_NAME, library_version=__version__)


def _list_replaced_names(api: "HfApi", repo: str, commit_hash: str | None) -> set[str]:
    """List the files of the bundle that a repository holds; none of a new repository.

    Args:
        api: Client of the Hub.
        repo: Name of the repository.
        commit_hash: Commit whose files are replaced.

    Raises:
        HubError: If the repository holds something other than a bundle.
    """
    from huggingface_hub import hf_hub_download

    files = {file.path for file in _list_files(api, repo, commit_hash)}
    others = sorted(files - _HUB_FILES)
    if not others:
        return set()
    if MANIFEST in files:
        folder = Path(hf_hub_download(repo, MANIFEST, revision=commit_hash)).parent
        # Checkpoints, stores and other programs have a manifest of this name with `files`, too.
        if is_bundle(folder):
            digests = dict(read_json(folder / MANIFEST)["files"])
            if CARD in files and CARD in digests:
                card = Path(hf_hub_download(repo, CARD, revision=commit_hash))
                if compute_file_sha256(card) != digests[CARD]:
                    _LOG.warning(_EDITED_CARD, repo, commit_hash)
            return set(digests)
    shown = ", ".join(f"`{name}`" for name in others[:_MAX_SHOWN_NAMES])
    more = f" and {len(others) - _MAX_SHOWN_NAMES} more" if len(others) > _MAX_SHOWN_NAMES else ""
    raise HubError(
        f"`{repo}` holds something other than a bundle ({shown}{more}) and is not overwritten; give"
        " another name"
    )


def _list_files(api: "HfApi", repo: str, commit_hash: str | None) -> "list[RepoFile]":
    """List the files of a commit with their sizes and hashes."""
    from huggingface_hub.hf_api import RepoFile

    tree: Any = api.list_repo_tree(repo, recursive=True, revision=commit_hash)
    return [entry for entry in tree if isinstance(entry, RepoFile)]


def _verify_files(
    api: "HfApi", repo: str, commit_hash: str, bundle_dir: Path, names: list[str]
) -> None:
    """Compare size and hash of each uploaded file with the local file.

    Args:
        api: Client of the Hub.
        repo: Name of the repository.
        commit_hash: Commit that was uploaded.
        bundle_dir: Folder of the bundle.
        names: Files that were uploaded, relative to the bundle.

    Raises:
        HubError: If a file is missing or differs.
    """
    files = {file.path: file for file in _list_files(api, repo, commit_hash)}
    problems = [
        f"`{name}` {'is missing' if name not in files else 'differs'}"
        for name in names
        if name not in files or not _is_same_file(files[name], bundle_dir / name)
    ]
    if problems:
        raise HubError(
            f"the Hub holds other files in `{repo}` than were sent: {'; '.join(problems)}; do not"
            f" use commit {commit_hash[:12]}, and run the same command again"
        )


def _is_same_file(file: "RepoFile", path: Path) -> bool:
    """Return whether a file on the Hub has the size and the hash of a local file."""
    from huggingface_hub.utils.sha import git_hash

    if file.size != path.stat().st_size:
        return False
    if file.lfs is not None:
        return bool(file.lfs.sha256 == compute_file_sha256(path))
    # Small files have the hash of git, which covers their content too.
    return bool(file.blob_id == git_hash(path.read_bytes()))
