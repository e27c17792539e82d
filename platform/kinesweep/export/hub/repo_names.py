"""Names of bundles: folders of this machine, or repositories on the Hugging Face Hub.

`OWNER/NAME` looks like a relative path, and a mistyped path must not become a request to the Hub.
A name is one on the Hub only if it has exactly that form and nothing of it exists locally.
"""

import re
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.core.paths import is_local_path

_REPO_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
# As `huggingface_hub.utils.validate_repo_id` limits it.
_MAX_LENGTH = 96


def check_repo_name(name: str) -> None:
    """Check that a name has the form of a repository on the Hub, `OWNER/NAME`.

    Raises:
        InputError: If it has not.
    """
    is_valid = _REPO_NAME.fullmatch(name) and len(name) <= _MAX_LENGTH
    if not is_valid or "--" in name or ".." in name or name.endswith((".git", ".", "-")):
        raise InputError(
            f"`{name}` is not a name on the Hub; it must be `OWNER/NAME`, of letters, digits, `-`,"
            f" `_` and `.`, at most {_MAX_LENGTH} characters"
        )


def is_hub_name(name: str | Path, revision: str | None = None) -> bool:
    """Return whether the name of a bundle is that of a repository on the Hub.

    Args:
        name: Folder, or name on the Hub.
        revision: Revision of a repository; only those on the Hub have one.

    Raises:
        InputError: If a revision is given for a name that cannot be one on the Hub.
    """
    text = str(name)
    if revision is not None:
        if not revision:
            raise InputError("`revision` is empty; give a branch, tag or commit, or omit it")
        if Path(text).exists():
            raise InputError(f"`{text}` is a local folder, which has no revisions; omit `revision`")
        check_repo_name(text)
        return True
    if is_local_path(text) or not _REPO_NAME.fullmatch(text) or Path(text).exists():
        return False
    # `exports/sampel` beside `exports/sample` is a mistyped path.
    return not Path(text).parent.exists()
