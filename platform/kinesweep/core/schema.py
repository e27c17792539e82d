"""Schema of a feature store: the width, rate and points of each stream.

Models take their input widths from the schema, never from a constant.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.vocabulary import TokenVocabulary

RATE_TOLERANCE = 0.01
"""Share by which two frame rates may differ and count as one: 29.97 counts as 30, but 24 does not
count as 25. A movement is then longer by at most one frame in a hundred."""

_NUMBER_BYTES = 4
_OPTIONAL_KEYS = ("has_mask", "rates_hz", "frame_size", "reads_video", "vocabulary")
"""Settings that are written only if they are in use, because earlier versions lack them."""


@dataclass(frozen=True)
class StreamSchema:
    """Schema of one stream, which holds one feature sequence for every clip.

    Attributes:
        width: Values per frame, D.
        rate_hz: Frames per second, or None if clips differ.
        dtype: Type on disk, `float16` or `float32`; `uint8` for frames of a video, `int32` for
            token ids.
        layout: Points whose coordinates are the values of a frame, in the order of the values; None
            if the values are not coordinates of points.
        has_mask: Whether each point has a further value after its coordinates: 1 where it was
            detected, otherwise 0.
        rates_hz: Pairs of a frame rate and its number of clips if clips differ, sorted by rate and
            rounded to 4 digits; otherwise empty.
        frame_size: Side of a square RGB frame in pixels if the values of a frame are its pixels,
            (side, side, 3); None for any other stream.
        reads_video: Whether the pixels are not stored, but decoded from the videos when they are
            read.
        vocabulary: Vocabulary of the stream if its only value, of type `int32`, is a token id; None
            for any other stream.
    """

    width: int
    rate_hz: float | None
    dtype: str
    layout: PointLayout | None = None
    has_mask: bool = False
    rates_hz: tuple[tuple[float, int], ...] = ()
    frame_size: int | None = None
    reads_video: bool = False
    vocabulary: TokenVocabulary | None = None

    @property
    def bytes_per_frame(self) -> int:
        """Return the size of a frame on disk in bytes; 0 if it is decoded from a video."""
        return 0 if self.reads_video else self.width * np.dtype(self.dtype).itemsize

    @property
    def batch_bytes_per_frame(self) -> int:
        """Return the size of a frame in a batch in bytes: pixels are bytes, numbers float32."""
        return self.width * (_NUMBER_BYTES if self.frame_size is None else 1)

    def describe_frame(self) -> str:
        """Describe what one frame of the stream holds, for people."""
        if self.frame_size is None:
            return f"{self.width} values per frame"
        place = ", decoded from the videos" if self.reads_video else ""
        return f"frames of {self.frame_size} × {self.frame_size} pixels{place}"

    def to_json(self) -> dict[str, Any]:
        """Convert the schema to plain values that JSON can represent.

        Settings that earlier versions do not know are left out while they are not in use.
        """
        # Stores are found by a hash of these values, so a key that is not in use must not appear.
        values = {**vars(self), "layout": self.layout.to_json() if self.layout else None}
        values["rates_hz"] = [list(pair) for pair in self.rates_hz]
        values["vocabulary"] = self.vocabulary.to_json() if self.vocabulary else None
        return {key: value for key, value in values.items() if value or key not in _OPTIONAL_KEYS}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "StreamSchema":
        """Build a schema from the output of `to_json`, or of earlier versions without a layout."""
        layout, vocabulary = values.get("layout"), values.get("vocabulary")
        rates_hz = tuple((float(rate), int(count)) for rate, count in values.get("rates_hz", ()))
        return cls(
            **{
                **values,
                "layout": PointLayout.from_json(layout) if layout else None,
                "rates_hz": rates_hz,
                "vocabulary": TokenVocabulary.from_json(vocabulary) if vocabulary else None,
            }
        )


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

    @property
    def vocabularies(self) -> dict[str, TokenVocabulary]:
        """Return stream name → vocabulary, for the streams of token ids."""
        return {
            name: stream.vocabulary for name, stream in self.streams.items() if stream.vocabulary
        }

    @property
    def frame_sizes(self) -> dict[str, int]:
        """Return stream name → height and width in pixels, for the streams of decoded frames."""
        return {
            name: stream.frame_size
            for name, stream in self.streams.items()
            if stream.frame_size is not None
        }


def count_rates(rates_hz: Iterable[float]) -> tuple[tuple[float, int], ...]:
    """Count the clips of each frame rate.

    Args:
        rates_hz: Rate of each clip.

    Returns:
        Pairs of a rate, rounded by `round_rate`, and its number of clips, sorted by rate.
    """
    return tuple(sorted(Counter(map(round_rate, rates_hz)).items()))


def round_rate(rate_hz: float) -> float:
    """Round a frame rate to 4 digits, so that measured rates (29.9701, 29.9703) become equal."""
    return float(f"{rate_hz:.4g}")
