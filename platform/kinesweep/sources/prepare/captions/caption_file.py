"""Reading of a caption file, by the suffix of its name."""

from collections.abc import Callable
from pathlib import Path

from kinesweep.core.tables.text_encoding import decode_text, find_utf16
from kinesweep.sources.prepare.captions.caption_track import CaptionTrack
from kinesweep.sources.prepare.captions.cue_blocks import parse_srt, parse_vtt
from kinesweep.sources.prepare.captions.timed_json import parse_json
from kinesweep.sources.prepare.captions.timed_xml import parse_xml
from kinesweep.sources.tsv.tsv_reader import format_conversion_command

CAPTION_PARSERS: dict[str, Callable[[str, str], CaptionTrack]] = {
    ".json": parse_json,
    ".json3": parse_json,
    ".vtt": parse_vtt,
    ".srt": parse_srt,
    ".srv1": parse_xml,
    ".srv2": parse_xml,
    ".srv3": parse_xml,
    ".ytt": parse_xml,
    ".ttml": parse_xml,
    ".dfxp": parse_xml,
    ".xml": parse_xml,
}
"""Suffix → parser, from the most to the least preferred format of one caption track: JSON has
every line once, the others may repeat lines or have lost the times of words."""
UNSUPPORTED_SUFFIXES = (".ass", ".ssa", ".sbv", ".sub", ".smi", ".lrc", ".scc", ".stl")
"""Suffixes of caption formats that are known but not read."""


def read_caption_file(path: Path) -> CaptionTrack:
    """Read a caption file.

    Args:
        path: Path of the file; its suffix is one of `CAPTION_PARSERS`.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is not UTF-8 or not in the format of its suffix.
    """
    content = path.read_bytes()
    if find_utf16(content):
        raise ValueError(f"is UTF-16, not UTF-8; {format_conversion_command(path, 'utf-16')}")
    try:
        text = decode_text(content)
    except ValueError as error:
        # Other encodings are never guessed: a wrong guess would be a wrong text in silence.
        raise ValueError(f"{error}; {format_conversion_command(path, 'latin1')}") from None
    if not text.strip():
        raise ValueError("is empty")
    return CAPTION_PARSERS[path.suffix.lower()](text, path.name)
