"""Values with units, converted once on input: spans of media files, byte sizes and durations."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from kinesweep.core.errors import InputError

# Decimal and binary units, in upper case; input may be in any case.
_BYTES_PER_UNIT = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES_PER_UNIT |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclass(frozen=True)
class Span:
    """A part of a media file.

    Attributes:
        start: Start, in `unit`; None for the start of the file.
        end: End (exclusive), in `unit`; None for the end of the file.
        unit: `ms` or `frames`.
    """

    start: float | None = None
    end: float | None = None
    unit: Literal["ms", "frames"] = "ms"

    @classmethod
    def from_ms(cls, start: float, end: float) -> "Span":
        """Create a span from milliseconds; 0 means the start or the end of the file."""
        return cls(start or None, end or None, "ms")

    @classmethod
    def from_frames(cls, start: int, end: int) -> "Span":
        """Create a span from frames, `end` exclusive; 0 means the start or the end of the file."""
        return cls(start or None, end or None, "frames")

    @property
    def is_full(self) -> bool:
        """Return whether the span covers the whole file."""
        return self.start is None and self.end is None

    def to_frame_range(self, fps: float, num_frames: int) -> tuple[int, int]:
        """Convert the span to its first frame and the frame after its last, clamped to the file.

        The rounding follows MultimodalHugs and pose-format: floor(ms / 1000 · fps) for the start
        and ceil(ms / 1000 · fps) for the end.

        Args:
            fps: Frame rate of the file in frames per second.
            num_frames: Number of frames of the file.

        Raises:
            InputError: If the span lies beyond the end of the file or is empty.
        """
        start, end = self.start or 0.0, num_frames if self.end is None else self.end
        if self.unit == "ms":
            # Divided first, as in pose-format: 280 / 1000 * 25 is slightly above 7, so 280 ms at
            # 25 fps end at frame 8; multiplying first would give exactly 7.
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
    """Parse a byte size such as `50 GB`, `512MiB` or `1000` into a number of bytes.

    Args:
        text: Number and unit, in any case; decimal units (`GB`) are powers of 1000, binary ones
            (`GiB`) of 1024, and a number without a unit counts bytes.

    Raises:
        InputError: If the text is not a byte size.
    """
    # Not pydantic's `ByteSize`, which reads `50 GB please` as 50 GB and `50 Gbit` as bits.
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match[2].upper() not in _BYTES_PER_UNIT:
        raise InputError(
            f"`{text}` is not an amount of bytes; write for example `50 GB` or `512 MiB`"
        )
    return int(float(match[1]) * _BYTES_PER_UNIT[match[2].upper()])


def format_duration(seconds: float) -> str:
    """Format a duration for people in seconds, minutes or hours: `3.2 min`."""
    for unit, unit_s in (("s", 1.0), ("min", 60.0)):
        # Two digits: 99.5 would round to 100, which `.2g` writes as 1e+02.
        if seconds / unit_s < 99.5:
            return f"{seconds / unit_s:.2g} {unit}"
    hours = seconds / 3600
    return f"{hours:.3g} h" if hours < 999.5 else f"{hours:,.0f} h"


def format_bytes(num_bytes: float) -> str:
    """Format a byte size for people in decimal units up to GB: `1.2 GB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if num_bytes < 1000 or unit == "GB":
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    raise AssertionError("unreachable")
