"""Spans in tables of media files: parsing of times, and spans that are wrong as a whole.

Times in another unit than `source.time_unit` give clips that look valid. Two findings need no media
file: a table in milliseconds in which nearly all spans are shorter than a frame, and a row without
a span beside rows with spans of the same file, which would become the whole video. Longer spans in
seconds are recognized by the durations of their files, which are opened only in this suspicion.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.tables.number_format import explain_clock_time, parse_number
from kinesweep.core.units import Span

TimeUnit = Literal["ms", "s", "frames"]

_FRAME_MS = 40.0
"""Duration of a frame at 25 frames per second. A sentence takes at least 0.3 s."""
_MIN_SHORT_SHARE = 0.9
_MIN_SPANS = 2
"""Fewest spans that are judged together; a single short span is dropped when its file is read."""
_MAX_FRACTIONAL_SPAN_MS = 300.0
"""Longest span, in milliseconds, of a table that is taken for seconds because of its fractions."""
_MAX_SUSPECT_END_MS = 6 * 3600.0
_MAX_OPENED_FILES = 20
_MAX_SHOWN_ROWS = 3
_UNIT_NAMES = {"ms": "ms", "s": "seconds", "frames": "frames"}
_UNITS_PER_S = {"ms": 1000, "s": 1}


def parse_time(text: str, unit: TimeUnit) -> float | None:
    """Parse a start or end time, in milliseconds or frames; return None for 0 and an empty text.

    None stands for the start or end of the file.

    Args:
        text: Content of the field.
        unit: Unit of the field. Seconds are converted to milliseconds.

    Raises:
        ValueError: If the text is not a valid time; the message says what is allowed.
    """
    if text in ("", "0"):
        return None
    try:
        value = parse_number(text)
    except ValueError as error:
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise ValueError(f"must be 0 or more and finite, but is `{text}`") from None
        name, units_per_s = _UNIT_NAMES[unit], _UNITS_PER_S.get(unit)
        advice = explain_clock_time(text, units_per_s) if units_per_s else ""
        raise ValueError(f"must be a number of {name}, but is `{text}`{error}{advice}") from None
    if value < 0:
        raise ValueError(f"must be 0 or more, but is `{text}`")
    if unit == "frames" and value != int(value):
        raise ValueError(f"must be a whole number of frames, but is `{text}`")
    # Rounded, because 2.3 s would be 2299.9999999999995 ms.
    return (round(1000 * value, 6) if unit == "s" else value) or None


def format_number(value: float) -> str:
    """Format a number as text, whole numbers without a trailing `.0`."""
    return str(int(value)) if value == int(value) else repr(value)


def find_unit_error(clips: Sequence[Clip]) -> str | None:
    """Return the error text if the spans of a table in milliseconds must be in seconds.

    That is the case if there are several spans with an end, and if at least 90 % of them are
    shorter than 40 ms, one frame at 25 frames per second, or half of them have fractions and none
    is longer than 300 ms.

    Args:
        clips: Clips of the table, with spans in milliseconds.
    """
    durations = [
        clip.span.end - (clip.span.start or 0) for clip in clips if clip.span.end is not None
    ]
    if len(durations) < _MIN_SPANS:
        return None
    num_short = sum(duration < _FRAME_MS for duration in durations)
    is_short = num_short >= _MIN_SHORT_SHARE * len(durations)
    if not is_short and max(durations) > _MAX_FRACTIONAL_SPAN_MS:
        return None
    ended_clips = [clip for clip in clips if clip.span.end is not None]
    num_fractional = sum(_has_fraction(clip.span) for clip in ended_clips)
    if not is_short and 2 * num_fractional < len(ended_clips):
        return None
    shown_rows = ", ".join(map(_format_row_span, ended_clips[:_MAX_SHOWN_ROWS]))
    more = " …" if len(ended_clips) > _MAX_SHOWN_ROWS else ""
    finding = f"{num_short} of {len(durations)} spans are shorter than {_FRAME_MS:g} ms, one frame"
    remedy = "remove these rows"
    if not is_short:
        finding = (
            f"no span is longer than {_MAX_FRACTIONAL_SPAN_MS:g} ms, and many have fractions of one"
        )
        remedy = "round the times to whole milliseconds"
    return (
        f"{finding}, for example {shown_rows}{more}; if the times are in seconds, set"
        " `source.time_unit: s`, which is `ms` now; if they are numbers of frames,"
        f" `source.time_unit: frames`; else {remedy}"
    )


def _has_fraction(span: Span) -> bool:
    """Return whether a bound of a span is not a whole number."""
    return any(bound is not None and bound % 1 > 0 for bound in (span.start, span.end))


def _format_row_span(clip: Clip) -> str:
    """Format the row of a clip and its span, whose end is known."""
    bounds = (format_number(bound or 0) for bound in (clip.span.start, clip.span.end))
    return f"{clip.row} ({' to '.join(bounds)})"


def find_unit_error_by_media(
    clips: Sequence[Clip], get_duration_s: Callable[[Clip], float | None]
) -> str | None:
    """Return the error text if all spans in milliseconds fit into their files as seconds.

    Files are opened only if no span is longer than 300 ms, which hardly any sign is.

    Args:
        clips: Clips of a table with spans in milliseconds.
        get_duration_s: Function that returns the duration of the file of a clip in seconds, or None
            if the file cannot be read.
    """
    # One clip for each file: the one that ends last.
    last_clips: dict[str, Clip] = {}
    for clip in clips:
        end = clip.span.end
        if end is None:
            continue
        if end - (clip.span.start or 0) > _MAX_FRACTIONAL_SPAN_MS or end > _MAX_SUSPECT_END_MS:
            return None
        other = last_clips.get(clip.media)
        if other is None or (other.span.end or 0) < end:
            last_clips[clip.media] = clip
    opened_clips = list(last_clips.values())[:_MAX_OPENED_FILES]
    for clip in opened_clips:
        duration_s = get_duration_s(clip)
        # One second more, because the end may be rounded up.
        if duration_s is None or (clip.span.end or 0) > duration_s + 1:
            return None
    if not opened_clips:
        return None
    return (
        "all spans lie in the first moment of their files, for example"
        f" {_format_row_span(opened_clips[0])};"
        " if the times are in seconds, set `source.time_unit: s`, which is `ms` now"
    )


def find_missing_spans(clips: Sequence[Clip]) -> list[InvalidRow]:
    """Return the clips that are a whole file although other rows have spans of the same file.

    A caption without times, `0 0`, would otherwise have the frames of the whole video.

    Args:
        clips: Clips of a table whose spans were read from it.
    """
    first_row_by_media: dict[str, str] = {}
    for clip in clips:
        if not clip.span.is_full:
            first_row_by_media.setdefault(clip.media, clip.row)
    return [
        InvalidRow(
            clip.row,
            clip.id,
            "empty_span",
            f"the span is empty (0 to 0), but {first_row_by_media[clip.media]} and other rows cut"
            f" `{clip.media}` into clips; write the start and the end of the clip",
            clip.split,
        )
        for clip in clips
        if clip.span.is_full and clip.media in first_row_by_media
    ]
