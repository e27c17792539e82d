"""The captions of a motion: `caption#word/POS word/POS#start#end`, one a line.

Times are seconds. Both are 0 or `nan` for a caption of the whole motion. A caption may contain `#`,
because the last three fields are split off from the right. A line that cannot be read is dropped
alone; the published data loaders drop the whole motion with it.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.core.tables.text_encoding import decode_lines, find_utf16
from kinesweep.sources.prepare.split_annotations import DroppedRow

_NUM_FIELDS = 4


@dataclass(frozen=True)
class CaptionLine:
    """A caption of a motion or of a part of it.

    Attributes:
        row: Location of the line, for example `texts/000001.txt:2`.
        caption: Caption as it was written, with single spaces.
        words: Words of the tokens, without their parts of speech.
        start_s: Start of the part in seconds.
        end_s: End of the part in seconds; 0 with a start of 0 is the whole motion.
    """

    row: str
    caption: str
    words: str
    start_s: float
    end_s: float

    @property
    def is_whole(self) -> bool:
        """Return whether the caption describes the whole motion."""
        return not self.start_s and not self.end_s


@dataclass
class CaptionFile:
    """The captions of one motion, and the lines that are none."""

    lines: list[CaptionLine] = field(default_factory=list)
    dropped: list[DroppedRow] = field(default_factory=list)


def read_caption_file(path: Path) -> CaptionFile:
    """Read the captions of a motion; blank lines are no lines.

    Raises:
        OSError: If the file cannot be read.
    """
    name = f"{path.parent.name}/{path.name}"
    content = path.read_bytes()
    if find_utf16(content):
        problem = f"`{path}` is UTF-16; save it as UTF-8"
        return CaptionFile(dropped=[DroppedRow(name, "unreadable_text", problem)])
    text, invalid_lines = decode_lines(content)
    found = CaptionFile()
    problem_by_number = {line.line_number: line.error_text for line in invalid_lines}
    for number, line in enumerate(split_lines(text), 1):
        row = f"{name}:{number}"
        if number in problem_by_number:
            found.dropped.append(DroppedRow(row, "unreadable_text", problem_by_number[number]))
        elif line.strip():
            parsed = _parse_line(line, row)
            if isinstance(parsed, CaptionLine):
                found.lines.append(parsed)
            else:
                found.dropped.append(parsed)
    return found


def split_lines(text: str) -> list[str]:
    """Split a text at LF or CRLF, or at CR if it has no LF."""
    # `splitlines` would also break lines at characters that captions may contain (U+2028).
    return text.replace("\r\n", "\n").split("\n") if "\n" in text else text.split("\r")


def _parse_line(line: str, row: str) -> CaptionLine | DroppedRow:
    """Parse one line, and return its caption, or the dropped row with its reason.

    Args:
        line: Line of a file of captions, `caption#tokens#start#end`.
        row: Location of the line.
    """
    if "\0" in line:
        return DroppedRow(row, "unreadable_text", "the line contains NUL bytes")
    fields = line.rsplit("#", _NUM_FIELDS - 1)
    if len(fields) < _NUM_FIELDS:
        problem = f"{len(fields)} fields between `#`; expected caption#tokens#start#end"
        return DroppedRow(row, "malformed_line", problem)
    caption, tokens, *times = fields
    try:
        start_s, end_s = (_parse_time(time) for time in times)
    except ValueError:
        problem = f"start `{times[0].strip()}` and end `{times[1].strip()}` must be seconds"
        return DroppedRow(row, "bad_time", problem)
    caption = " ".join(caption.split())
    if not caption:
        return DroppedRow(row, "empty_text", "the caption is empty")
    return CaptionLine(row, caption, _join_words(tokens), start_s, end_s)


def _parse_time(text: str) -> float:
    """Parse a time in seconds; `nan` is 0, as in the published data loaders.

    Raises:
        ValueError: If the text is not a number of 0 or more.
    """
    seconds = float(text)
    if math.isnan(seconds):
        return 0.0
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(text)
    return seconds


def _join_words(tokens: str) -> str:
    """Join the words of tokens such as `walk/VERB`; a token without a part of speech is a word."""
    # The part of speech follows the last `/`, so that words such as `and/or` stay whole.
    words = (token.rpartition("/")[0] if "/" in token else token for token in tokens.split())
    return " ".join(word for word in words if word)
