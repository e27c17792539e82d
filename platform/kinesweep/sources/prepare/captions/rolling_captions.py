"""Joining of rolling captions: every line once, with the time at which it is new.

YouTube writes its automatic captions as a window of two lines. Each line appears three times: as
the new line below (its words with time tags), alone in a cue of 10 ms, and as the old line above.
Only files that show this pattern are joined, because in other files a line that occurs twice was
said twice.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from kinesweep.sources.prepare.captions.caption_track import Cue
from kinesweep.sources.prepare.captions.cue_blocks import has_word_times

_BRIDGE_MS = 100
"""Longest cue that only repeats the line before and does not extend its time; YouTube's last 10."""
_CONTIGUOUS_MS = 250
"""Longest gap after which a cue still belongs to the window of the one before."""
_TAG_PATTERN = re.compile(r"<[^<>]*>")


def join_rolling_cues(cues: Sequence[Cue]) -> tuple[list[Cue], list[Cue]]:
    """Return the cues with each line of a rolling window once, and the cues without a new line.

    Cues of files that are not rolling are returned unchanged.

    Args:
        cues: Cues with at least one line each, in the order of their starts.
    """
    if not _is_rolling(cues):
        return list(cues), []
    # Where words have times, a line ends with the cue in which it is said; afterwards it only waits
    # on the screen for the next one.
    ends_with_words = _has_word_times(cues)
    joined: list[Cue] = []
    repeated: list[Cue] = []
    previous: Cue | None = None
    for cue in cues:
        num_old = _count_old_lines(previous, cue)
        grown = None if num_old else _find_grown_line(previous, cue)
        if joined and (num_old == len(cue.lines) or grown is not None):
            # The line stays on the screen, or gets further words: it is still the same line.
            last = joined[-1]
            is_bridge = cue.end_ms - cue.start_ms <= _BRIDGE_MS or ends_with_words
            keeps_end = grown is None and is_bridge
            end_ms = last.end_ms if keeps_end else max(last.end_ms, cue.end_ms)
            lines = last.lines if grown is None else (*last.lines[:-1], *cue.lines[grown:])
            joined[-1] = replace(last, end_ms=end_ms, lines=lines)
            repeated.append(cue)
        else:
            joined.append(replace(cue, lines=cue.lines[num_old:]))
        previous = cue
    return joined, repeated


def trim_overlapping_ends(cues: Sequence[Cue], is_automatic: bool) -> list[Cue]:
    """Return the cues with ends no later than the next start, if they are rolling captions.

    In YouTube's JSON and XML, the end of an automatic caption is the time at which it leaves the
    window, one line later. Captions of two people who speak at once overlap only now and then, and
    are returned unchanged.

    Args:
        cues: Cues in the order of their starts.
        is_automatic: Whether the captions are known to be automatic; otherwise they are taken for
            rolling if at least half of them overlap with the next one.
    """
    pairs = list(pairwise(cues))
    num_overlaps = sum(cue.end_ms > following.start_ms > cue.start_ms for cue, following in pairs)
    if not num_overlaps or not (is_automatic or 2 <= num_overlaps >= len(pairs) / 2):
        return list(cues)
    return [
        replace(cue, end_ms=min(cue.end_ms, following.start_ms))
        if following.start_ms > cue.start_ms
        else cue
        for cue, following in pairs
    ] + [cues[-1]]


def _is_rolling(cues: Sequence[Cue]) -> bool:
    """Return whether most cues begin with the lines that the cue before ended with."""
    num_rolled = 0
    for previous, cue in pairwise(cues):
        num_old = _count_old_lines(previous, cue)
        is_bridge = num_old == len(cue.lines) and cue.end_ms - cue.start_ms <= _BRIDGE_MS
        num_rolled += 0 < num_old < len(cue.lines) or is_bridge
        num_rolled += not num_old and _find_grown_line(previous, cue) is not None
    # One pair may be a line that was said twice, unless the words carry times as YouTube's do.
    return num_rolled >= (1 if _has_word_times(cues) else 2) and 2 * num_rolled >= len(cues) - 1


def _has_word_times(cues: Sequence[Cue]) -> bool:
    """Return whether any line contains times of its words."""
    return any(has_word_times(line) for cue in cues for line in cue.lines)


def _count_old_lines(previous: Cue | None, cue: Cue) -> int:
    """Count the first lines of a cue that the cue before it has already shown as its last ones.

    A line with times of words is new by definition. A cue of old lines only must follow at once;
    after a pause, the line was said again.
    """
    if previous is None or not cue.lines:
        return 0
    shown, lines = [[_plain(line) for line in c.lines] for c in (previous, cue)]
    num_untimed = next(
        (i for i, line in enumerate(cue.lines) if has_word_times(line)), len(cue.lines)
    )
    for count in range(min(num_untimed, len(shown)), 0, -1):
        if shown[-count:] == lines[:count]:
            is_contiguous = cue.start_ms - previous.end_ms <= _CONTIGUOUS_MS
            return count if count < len(lines) or is_contiguous else 0
    return 0


def _find_grown_line(previous: Cue | None, cue: Cue) -> int | None:
    """Return the index of the line that is the last line of the cue before with further words.

    Live captions grow like this: `HELLO`, `HELLO MY`, `HELLO MY NAME`. Without such a line, None is
    returned.
    """
    if previous is None or cue.start_ms - previous.end_ms > _CONTIGUOUS_MS:
        return None
    *shown, last = map(_plain, previous.lines)
    lines = [_plain(line) for line in cue.lines]
    for index in range(min(len(shown), len(lines) - 1), -1, -1):
        has_same_lines_above = lines[:index] == shown[len(shown) - index :]
        is_timed = has_word_times(cue.lines[index])
        if has_same_lines_above and not is_timed and lines[index].startswith(f"{last} "):
            return index
    return None


def _plain(line: str) -> str:
    """Return a line without tags and with single spaces, for comparison."""
    return " ".join(_TAG_PATTERN.sub("", line).split())
