"""Values with units, converted once at the edge: spans of media files and amounts of bytes."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from kinesweep.core.errors import InputError

_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclass(frozen=True)
class Span:
    """A part of a media file. Each bound stands on its own; None means the file's start or end.

    Attributes:
        start: first moment, in `unit`, or None.
        end: moment after the last one, in `unit`, or None.
        unit: `ms` or `frames`.
    """

    start: float | None = None
    end: float | None = None
    unit: Literal["ms", "frames"] = "ms"

    @classmethod
    def from_ms(cls, start: float, end: float) -> "Span":
        """Bounds in milliseconds; 0 stands for the start or the end of the file."""
        return cls(start or None, end or None, "ms")

    @classmethod
    def from_frames(cls, start: int, end: int) -> "Span":
        """Bounds in frames, `end` exclusive; 0 stands for the start or the end of the file."""
        return cls(start or None, end or None, "frames")

    @property
    def whole(self) -> bool:
        """Whether this is the whole file."""
        return self.start is None and self.end is None

    def frames(self, fps: float, num_frames: int) -> tuple[int, int]:
        """First frame and the one after the last: floor, ceiling, clamped to the file.

        The rule is MultimodalHugs' and pose-format's: floor(ms / 1000 · fps) and ceil(ms / 1000 ·
        fps).

        Raises:
            InputError: the span lies beyond the file or is empty.
        """
        start, end = self.start or 0.0, num_frames if self.end is None else self.end
        if (
            self.unit == "ms"
        ):  # divided first, as pose-format does: 280 ms at 25 fps end at 8, not 7
            start = start / 1000 * fps
            end = num_frames if self.end is None else end / 1000 * fps
        first, last = math.floor(start), min(math.ceil(end), num_frames)
        if first >= num_frames:
            raise InputError(
                f"the span starts at frame {first}, but the file has {num_frames} frames"
                f" at {fps:g} fps"
            )
        if first >= last:
            raise InputError(
                f"the span is empty: it starts at frame {first} and ends before {last}"
            )
        return first, last


def parse_bytes(text: str) -> int:
    """`50 GB`, `512MiB` or `1000` as a number of bytes.

    Raises:
        InputError: not an amount of bytes.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match[2].upper() not in _BYTES:
        raise InputError(
            f"`{text}` is not an amount of bytes; write for example `50 GB` or `512 MiB`"
        )
    return int(float(match[1]) * _BYTES[match[2].upper()])


def format_seconds(seconds: float) -> str:
    """A stretch of time for people: `3.2 min`."""
    for unit, most in (("s", 100.0), ("min", 100 * 60.0)):
        if seconds < most:
            return f"{seconds / (most / 100):.2g} {unit}"
    return f"{seconds / 3600:.3g} h"


def format_bytes(count: float) -> str:
    """An amount of bytes for people: `1.2 GB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
