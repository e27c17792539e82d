"""A parser for the XML layouts of captions: YouTube's `srv1`, `srv2`, `srv3`, and TTML.

- `srv1`: `<transcript><text start="1.2" dur="3">`, in seconds.
- `srv2`: `<timedtext><text t="1200" d="3000">`, in milliseconds.
- `srv3`: `<timedtext format="3"><body><p t="1200" d="3000"><s t="40">`, in milliseconds.
- TTML (https://www.w3.org/TR/ttml1/): `<tt><body><div><p begin="00:00:01.2" end="4.2s">`; times in
  frames or ticks are counted as `bad_time`, because the file alone does not give their rate.
"""

import re
import xml.etree.ElementTree as ElementTree

from kinesweep.sources.prepare.captions.caption_track import CaptionTrack
from kinesweep.sources.prepare.times import parse_milliseconds

_OFFSET_UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_OFFSET_PATTERN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
_LANGUAGE_ATTRIBUTE = "{http://www.w3.org/XML/1998/namespace}lang"


def parse_xml(text: str, name: str) -> CaptionTrack:
    """Parse an XML file of captions.

    Args:
        text: Content of the file.
        name: Name of the file for locations.

    Raises:
        ValueError: If the file is not XML, defines entities, or has another layout.
    """
    # Entities that a file defines itself can grow without bound; caption formats define none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("contains a DOCTYPE, which captions do not need; remove it")
    try:
        root = ElementTree.fromstring(text.strip())
    except (ElementTree.ParseError, RecursionError) as error:
        raise ValueError(f"is not XML ({error})") from None
    tag = _local_name(root)
    if tag == "tt":
        return _read_ttml(root, name)
    if tag == "transcript":
        return _read_texts(root, name, "text", ("start", "dur"), 1000)
    if tag == "timedtext":
        is_srv3 = root.find("body") is not None
        return _read_texts(root, name, "p" if is_srv3 else "text", ("t", "d"), 1)
    raise ValueError(f"has the root `{tag}`; known are `transcript`, `timedtext` and `tt`")


def _read_texts(
    root: ElementTree.Element, name: str, tag: str, attributes: tuple[str, str], unit_ms: int
) -> CaptionTrack:
    """Read the elements of YouTube's layouts.

    Args:
        root: Root of the file.
        name: Name of the file for locations.
        tag: Name of the elements with a text.
        attributes: Names of the attributes with start and duration.
        unit_ms: Unit of the times in milliseconds.
    """
    track = CaptionTrack(ends_overlap=True)
    for number, element in enumerate(root.iter(tag), 1):
        text = _collect_text(element)
        is_appended = element.get("a") == "1" or element.get("append") == "1"
        track.is_automatic |= is_appended or any(child.get("ac") for child in element)
        if is_appended and not text.strip():  # the line feed between two lines of a window
            continue
        start, duration = (element.get(attribute, "") for attribute in attributes)
        location = f"{name}:{number}"
        try:
            start_ms, duration_ms = (unit_ms * float(time) for time in (start, duration or "0"))
        except ValueError:
            track.dropped.append((location, "bad_time"))
            continue
        track.add_cue(start_ms, start_ms + duration_ms, text, location)
    return track


def _read_ttml(root: ElementTree.Element, name: str) -> CaptionTrack:
    """Read the paragraphs of a TTML file.

    Args:
        root: Root of the file.
        name: Name of the file for locations.
    """
    track = CaptionTrack(language=root.get(_LANGUAGE_ATTRIBUTE, ""))
    paragraphs = [element for element in root.iter() if _local_name(element) == "p"]
    for number, paragraph in enumerate(paragraphs, 1):
        location = f"{name}:{number}"
        try:
            start_ms = _parse_ttml_time(paragraph.get("begin", ""))
            if paragraph.get("end") is not None:
                end_ms = _parse_ttml_time(paragraph.get("end", ""))
            else:
                end_ms = start_ms + _parse_ttml_time(paragraph.get("dur", ""))
        except ValueError:
            track.dropped.append((location, "bad_time"))
            continue
        track.add_cue(start_ms, end_ms, _collect_text(paragraph, collapse=True), location)
    return track


def _parse_ttml_time(text: str) -> float:
    """Parse a TTML clock time or offset time, and return it in milliseconds.

    Raises:
        ValueError: If the text is not a time in hours, minutes, seconds or milliseconds.
    """
    offset = _OFFSET_PATTERN.fullmatch(text.strip())
    if offset is not None:
        return float(offset[1]) * _OFFSET_UNITS_MS[offset[2]]
    if text.count(":") != 2:  # a clock time always has hours; `h:m:s:frames` needs a frame rate
        raise ValueError(f"`{text}` is not a time")
    return parse_milliseconds(text)


def _collect_text(element: ElementTree.Element, collapse: bool = False) -> str:
    """Return the text of an element and its children, with `<br/>` as a line feed.

    Args:
        element: Element with the text.
        collapse: Whether line feeds of the file are white space, as TTML says.
    """
    for child in element.iter():
        if _local_name(child) == "br":
            child.text = "\x00"
    text = "".join(element.itertext())
    if collapse:
        text = re.sub(r"\s+", " ", text)
    return text.replace("\x00", "\n")


def _local_name(element: ElementTree.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
