"""File names for the clips, videos and streams of an export, in both layouts."""

import re

_UNSAFE_CHARACTERS = re.compile(r"[/\\\x00-\x1f\x7f]|^\.")


def sanitize_file_name(name: str) -> str:
    """Replace path separators, control characters and a leading dot by `_`, for file names.

    White space at both ends is removed, so the result is empty if the name consists of nothing
    else.
    """
    return _UNSAFE_CHARACTERS.sub("_", name.strip())
