"""What a store holds: the width and rate of each stream.

Models take their widths from here, never from a constant.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinesweep.core.pose import PointLayout


@dataclass(frozen=True)
class StreamSchema:
    """One feature sequence of every clip.

    Attributes:
        width: values a frame, D.
        rate_hz: frames a second, or None when clips differ.
        dtype: `float16` or `float32` as it lies on disk.
        layout: the points whose coordinates are a frame's values, in order; None: no points.
    """

    width: int
    rate_hz: float | None
    dtype: str
    layout: PointLayout | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "layout": self.layout.to_json() if self.layout else None}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "StreamSchema":
        """What `to_json` made, or an earlier version, which knew no points."""
        layout = plain.get("layout")
        return cls(**{**plain, "layout": PointLayout.from_json(layout) if layout else None})


@dataclass(frozen=True)
class StoreSchema:
    """The streams of a store, by name, in a fixed order."""

    streams: dict[str, StreamSchema]

    @property
    def widths(self) -> dict[str, int]:
        """Width of each stream."""
        return {name: stream.width for name, stream in self.streams.items()}
