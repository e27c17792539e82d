"""What a store holds: the width and rate of each stream.

Models take their widths from here, never from a constant.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class StreamSchema:
    """One feature sequence of every clip.

    Attributes:
        width: values a frame, D.
        rate_hz: frames a second, or None when clips differ.
        dtype: `float16` or `float32` as it lies on disk.
    """

    width: int
    rate_hz: float | None
    dtype: str


@dataclass(frozen=True)
class StoreSchema:
    """The streams of a store, by name, in a fixed order."""

    streams: dict[str, StreamSchema]

    @property
    def widths(self) -> dict[str, int]:
        """Width of each stream."""
        return {name: stream.width for name, stream in self.streams.items()}
