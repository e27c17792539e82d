"""File names for the clips, videos and streams of an export, in both layouts."""

import re

_UNSAFE_CHARACTERS = re.compile(r"[/\\\x00-\x1f\x7f]|^\.")


def sanitize_file_name(name: str) -> str:
    """Replace path separators, control characters and a leading dot by `_`, for file names.

    White space at both ends is removed. A name that consists of nothing else becomes `_`, because a
    file needs a name.
    """
    return _UNSAFE_CHARACTERS.sub("_", name.strip()) or "_"
