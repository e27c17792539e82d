"""A parser for WebVTT and SubRip (`.srt`) files.

Both formats are blocks of a timing line (`START --> END`) and lines of text. WebVTT follows
https://www.w3.org/TR/webvtt1/; SubRip has no specification, so what players accept is accepted:
missing numbers or hours, commas and points, blank lines inside a text.
"""

# webvtt-py 0.6 is not used: without a word, its readers leave out cues with a comma in a WebVTT
# time, with a time above 59 seconds, and SubRip cues without a number, hours or milliseconds; and
# they cut `3 < 5 and 6 > 2` to `3  2`. Here, each timing line becomes a cue or is counted.

import re

from kinesweep.sources.prepare.captions.caption_track import CaptionTrack

_ARROW = "-->"
_TIME_PATTERN = re.compile(
    r"(?P<sign>-?)(?:(?P<hours>[0-9]+):)?(?P<minutes>[0-9]{1,2}):(?P<seconds>[0-9]{1,2})"
    r"(?:[.,:](?P<fraction>[0-9]+))?"
)
_LANGUAGE_PATTERN = re.compile(r"\s*Language\s*[:=]\s*([A-Za-z0-9-]+)\s*$")
_OTHER_BLOCK_PATTERN = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")
_LINE_END_PATTERN = re.compile(r"\r\n|\r|\n")
_WORD_TIME_PATTERN = re.compile(r"<(?:[0-9]+:)?[0-9]{1,2}:[0-9]{1,2}[.,][0-9]{1,3}>")


def has_word_times(line: str) -> bool:
    """Return whether a line contains time tags such as `<00:00:01.240>`."""
    return _WORD_TIME_PATTERN.search(line) is not None


def parse_vtt(text: str, name: str) -> CaptionTrack:
    """Parse a WebVTT file.

    Comments, styles and regions are no captions and are left out.

    Args:
        text: Content of the file.
        name: Name of the file for locations.

    Raises:
        ValueError: If the file does not begin with `WEBVTT`.
    """
    lines = _LINE_END_PATTERN.split(text)
    if re.match(r"WEBVTT(?:[ \t]|$)", lines[0]) is None:
        raise ValueError(f"a WebVTT file begins with `WEBVTT`, but this one with `{lines[0][:40]}`")
    # A line with an arrow ends the header even if no blank line does (section 6.1, step 11).
    header_end = next(
        (i for i, line in enumerate(lines) if i and (not line or _ARROW in line)), len(lines)
    )
    languages = [_LANGUAGE_PATTERN.match(line) for line in lines[1:header_end]]
    track = _parse_cues(lines, header_end, name, ends_at_blank_line=True)
    track.language = next((match.group(1) for match in languages if match), "")
    track.is_automatic = any(has_word_times(line) for cue in track.cues for line in cue.lines)
    return track


def parse_srt(text: str, name: str) -> CaptionTrack:
    """Parse a SubRip file.

    Args:
        text: Content of the file.
        name: Name of the file for locations.

    Raises:
        ValueError: If the file contains no timing line.
    """
    lines = _LINE_END_PATTERN.split(text)
    if not any(_ARROW in line for line in lines):
        raise ValueError("there is no line `START --> END`")
    return _parse_cues(lines, 0, name, ends_at_blank_line=False)


def _parse_cues(
    lines: list[str], first_line: int, name: str, ends_at_blank_line: bool
) -> CaptionTrack:
    """Parse the cues of a file from its lines.

    Args:
        lines: All lines of the file.
        first_line: Index of the first line after the header.
        name: Name of the file for locations.
        ends_at_blank_line: Whether a blank line ends a text; otherwise only the next cue does.
    """
    track = CaptionTrack()
    timing_indices = [i for i in range(first_line, len(lines)) if _ARROW in lines[i]]
    if ends_at_blank_line:
        first_timing = timing_indices[0] if timing_indices else len(lines)
        before = _remove_identifier(lines[first_line:first_timing], is_vtt=True)
        track.dropped += _find_untimed_blocks(before, first_line, name)
    for index, next_index in zip(timing_indices, [*timing_indices[1:], len(lines)], strict=True):
        payload = lines[index + 1 : next_index]
        if next_index < len(lines):
            payload = _remove_identifier(payload, ends_at_blank_line)
        if ends_at_blank_line and "" in payload:
            # Only an empty line ends a cue; YouTube pads its windows with lines of one space.
            end = payload.index("")
            track.dropped += _find_untimed_blocks(payload[end:], index + 1 + end, name)
            payload = payload[:end]
        start_text, _, end_text = lines[index].partition(_ARROW)
        location = f"{name}:{index + 1}"
        try:
            # Cue settings (`align:start`) or coordinates (`X1:40`) may follow the end.
            times = _parse_time(start_text), _parse_time(_take_end_time(end_text))
        except ValueError:
            track.dropped.append((location, "bad_time"))
            continue
        track.add_cue(*times, "\n".join(payload), location)
    return track


def _find_untimed_blocks(lines: list[str], first_line: int, name: str) -> list[tuple[str, str]]:
    """Return the location of each block of text without a timing line, and the reason `no_time`.

    Such a block is a cue whose arrow is misspelled, or a text with an empty line inside. Comments,
    styles and regions are none.

    Args:
        lines: Lines after the end of a cue, or before the first one.
        first_line: Index of the first of them in the file.
        name: Name of the file for locations.
    """
    blocks = []
    for i, line in enumerate(lines):
        is_first_of_block = line.strip() and (i == 0 or not lines[i - 1].strip())
        if is_first_of_block and not _OTHER_BLOCK_PATTERN.match(line):
            blocks.append((f"{name}:{first_line + i + 1}", "no_time"))
    return blocks


def _remove_identifier(payload: list[str], is_vtt: bool) -> list[str]:
    """Return the lines before the next timing line without the identifier of that next cue.

    Args:
        payload: Lines between two timing lines.
        is_vtt: Whether any line may be an identifier; otherwise only a number is one.
    """
    if not payload or not payload[-1].strip():
        return payload
    follows_blank_line = len(payload) > 1 and not payload[-2].strip()
    is_number = payload[-1].strip().isdecimal()
    # Without a blank line before it, a last line of text such as `2012` cannot be told from a
    # number; SubRip numbers every cue, WebVTT rarely any.
    if (is_vtt and follows_blank_line) or (not is_vtt and is_number):
        return payload[:-1]
    return payload


def _take_end_time(text: str) -> str:
    """Return the part of a timing line after the arrow that is the end time, before settings."""
    # Some SubRip files have a space after the comma: `00:00:02, 500`.
    fields = re.sub(r",\s+(?=[0-9])", ",", text).split()
    return fields[0] if fields else ""


def _parse_time(text: str) -> float:
    """Parse a time such as `01:02:03.450` or `02:03,45`, and return it in milliseconds.

    Raises:
        ValueError: If the text is not a time, or if its minutes or seconds are above 59.
    """
    match = _TIME_PATTERN.fullmatch(re.sub(r",\s+", ",", text.strip()))
    if match is None:
        raise ValueError(f"`{text}` is not a time")
    minutes, seconds = int(match["minutes"]), int(match["seconds"])
    if minutes > 59 or seconds > 59:
        raise ValueError(f"`{text}` has more than 59 minutes or seconds")
    # Ten digits are over a million years, and Python refuses integers of thousands of digits.
    hours = int((match["hours"] or "0")[:10])
    fraction_ms = 1000 * float(f"0.{(match['fraction'] or '0')[:9]}")
    time_ms = 1000 * (3600 * hours + 60 * minutes + seconds) + fraction_ms
    return -time_ms if match["sign"] else time_ms
