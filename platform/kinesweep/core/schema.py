"""Schema of a feature store: the width, rate and points of each stream.

Models take their input widths from the schema, never from a constant.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinesweep.core.skeleton.pose import PointLayout


@dataclass(frozen=True)
class StreamSchema:
    """Schema of one stream, which holds one feature sequence for every clip.

    Attributes:
        width: Values per frame, D.
        rate_hz: Frames per second, or None if clips differ.
        dtype: Type on disk, `float16` or `float32`.
        layout: Points whose coordinates are the values of a frame, in the order of the values; None
            if the values are not coordinates of points.
    """

    width: int
    rate_hz: float | None
    dtype: str
    layout: PointLayout | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert the schema to plain values that JSON can represent."""
        return {**vars(self), "layout": self.layout.to_json() if self.layout else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "StreamSchema":
        """Build a schema from the output of `to_json`, or of earlier versions without a layout."""
        layout = values.get("layout")
        return cls(**{**values, "layout": PointLayout.from_json(layout) if layout else None})


@dataclass(frozen=True)
class StoreSchema:
    """The streams of a feature store.

    Attributes:
        streams: Stream name → schema, in the order of the store.
    """

    streams: dict[str, StreamSchema]

    @property
    def widths(self) -> dict[str, int]:
        """Return stream name → values per frame, in the order of the store."""
        return {name: stream.width for name, stream in self.streams.items()}
