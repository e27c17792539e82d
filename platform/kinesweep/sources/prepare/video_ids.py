"""Reading of lists of video ids, one or several a line, as ids or as YouTube addresses."""

import re
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.core.tables.text_encoding import decode_text
from kinesweep.sources.prepare.split_annotations import DroppedRow
from kinesweep.sources.tsv.tsv_reader import TableError, raise_table_errors

_ADDRESS_PATTERN = re.compile(
    r"(?:https?://)?(?:www\.|m\.|music\.)?(?:youtube(?:-nocookie)?\.com|youtu\.be)/"
    r"(?:(?:watch|attribution_link)\?(?:\S*&)?v=|embed/|shorts/|live/|v/|(?=[\w-]{11}(?:[?&#]|$)))"
    r"(?P<id>[\w-]+)(?:[?&#/]\S*)?",
    re.ASCII,
)
_ID_PATTERN = re.compile(r"[\w-]+", re.ASCII)


def read_video_ids(path: Path) -> tuple[list[str], list[DroppedRow]]:
    """Read a list of video ids, and return each id once, with the repeated ones as dropped rows.

    White space and commas separate ids. A word that begins with `#` begins a comment.

    Args:
        path: Text file with the ids.

    Raises:
        InputError: If the file is not UTF-8.
        SourceError: If a word is neither an id nor an address of YouTube; names every line.
    """
    try:
        text = decode_text(path.read_bytes())
    except ValueError as error:
        raise InputError(f"`{path.name}` cannot be read: {error}") from None
    first_rows: dict[str, str] = {}
    repeated: list[DroppedRow] = []
    errors: list[TableError] = []
    for line_number, line in enumerate(text.split("\n"), 1):
        row = f"{path.name}:{line_number}"
        for word in re.split(r"(?:^|\s)#", line)[0].replace(",", " ").split():
            video = _parse_video_id(word)
            if video is None:
                message = f"`{word[:80]}` is neither a video id nor an address of YouTube"
                errors.append((row, message))
            elif first_rows.setdefault(video, row) != row:
                repeated.append(DroppedRow(row, "duplicate"))
    raise_table_errors(errors)
    return list(first_rows), repeated


def _parse_video_id(word: str) -> str | None:
    """Return the video id in a word, or None if the word contains none."""
    word = word.strip("\"'<>")
    address = _ADDRESS_PATTERN.fullmatch(word)
    if address is not None:
        return address["id"]
    return word if _ID_PATTERN.fullmatch(word) else None
