"""A parser for the three JSON layouts in which YouTube's captions are stored.

A list of `text`, `start` and `duration` in seconds, as youtube-transcript-api returns it; the same
list as `snippets` of an object with `language_code` and `is_generated`; and YouTube's own `json3`
(`--sub-format json3` of yt-dlp): `events` with `tStartMs`, `dDurationMs` and `segs` of `utf8`.
"""

import json
from typing import Any

from kinesweep.sources.prepare.captions.caption_track import CaptionTrack


def parse_json(text: str, name: str) -> CaptionTrack:
    """Parse a JSON file of captions.

    Args:
        text: Content of the file.
        name: Name of the file for locations.

    Raises:
        ValueError: If the file is not JSON, has another layout, or lacks a field.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply for captions") from None
    if isinstance(content, dict) and isinstance(content.get("events"), list):
        return _read_events(content["events"], name)
    if isinstance(content, dict) and isinstance(content.get("snippets"), list):
        track = _read_snippets(content["snippets"], name)
        track.language = str(content.get("language_code") or "")
        track.is_automatic = content.get("is_generated") is True
        return track
    if isinstance(content, list):
        return _read_snippets(content, name)
    raise ValueError(
        "must be a list of `text`, `start` and `duration`, an object with such `snippets`, or"
        " YouTube's json3 with `events`"
    )


def _read_snippets(snippets: list[Any], name: str) -> CaptionTrack:
    """Read a list of objects with `text`, `start` and `duration` in seconds.

    Args:
        snippets: Objects of the list.
        name: Name of the file for locations.

    Raises:
        ValueError: If an item is not an object, lacks a field, or has a time that is no number.
    """
    track = CaptionTrack(ends_overlap=True)
    for number, snippet in enumerate(snippets, 1):
        try:
            start_ms = 1000 * _to_number(snippet["start"])
            end_ms = start_ms + 1000 * _to_number(snippet["duration"])
            text = snippet["text"]
        except (KeyError, TypeError) as error:
            text = f"caption {number} needs `text`, `start` and `duration`: {error!r}"
            raise ValueError(text) from None
        if not isinstance(text, str):
            raise ValueError(f"`text` of caption {number} must be a text, but is `{text!r:.40}`")
        track.add_cue(start_ms, end_ms, text, f"{name}:{number}")
    return track


def _read_events(events: list[Any], name: str) -> CaptionTrack:
    """Read the events of a json3 file; events without `segs` define windows and are left out.

    Args:
        events: Objects of the list.
        name: Name of the file for locations.

    Raises:
        ValueError: If an event has another layout.
    """
    track = CaptionTrack(ends_overlap=True)
    for number, event in enumerate(events, 1):
        if not isinstance(event, dict) or not isinstance(event.get("segs", []), list):
            raise ValueError(f"event {number} is not an object with a list of `segs`")
        segments = event.get("segs")
        if segments is None:
            continue
        try:
            text = "".join(segment.get("utf8", "") for segment in segments)
            start_ms = _to_number(event.get("tStartMs", 0))
            if "dDurationMs" in event:
                end_ms = start_ms + _to_number(event["dDurationMs"])
            else:  # the text stays until the next event
                end_ms = _find_next_start(events, number, start_ms)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"event {number} is malformed: {error}") from None
        track.is_automatic |= any("acAsrConf" in segment for segment in segments)
        track.is_automatic |= "aAppend" in event
        # Between two lines of a window, YouTube appends a line feed as an event of its own.
        if event.get("aAppend") and not text.strip():
            continue
        track.add_cue(start_ms, end_ms, text, f"{name}:{number}")
    return track


def _find_next_start(events: list[Any], index: int, start_ms: float) -> float:
    """Return the start of the next event with a text, or `start_ms` if there is none.

    Args:
        events: All events of the file.
        index: Index of the first event that comes into question.
        start_ms: Start of the event before it.

    Raises:
        TypeError: If the start is not a number.
    """
    # Only as far as needed: if no event has a duration, each of them looks for the next one.
    others = (events[i] for i in range(index, len(events)))
    following = (event for event in others if isinstance(event, dict) and event.get("segs"))
    next_start = next(following, {}).get("tStartMs")
    return start_ms if next_start is None else _to_number(next_start)


def _to_number(value: object) -> float:
    """Convert a number, or a text that contains one, to a float.

    Raises:
        TypeError: If the value is neither a number nor the text of one.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"`{value!r:.40}` is not a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise TypeError(f"`{str(value)[:40]}` is not a number") from None
