"""Feature steps for precomputed features, in one or several streams; they compute nothing.

Shapes: T frames, D width.
"""

from dataclasses import dataclass

from kinesweep.config.recipe.h5_shards import StreamsFeaturesConfig
from kinesweep.config.recipe.source import GivenFeaturesConfig
from kinesweep.core.hashing import fingerprint
from kinesweep.features.contract import Features
from kinesweep.sources.base import GivenFeatures, GivenStreams


@dataclass(frozen=True)
class PrecomputedStep:
    """A feature step that passes one precomputed stream through.

    Attributes:
        config: Feature configuration, which names the stream.
    """

    config: GivenFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Name of the single stream, as set in the recipe."""
        return (self.config.stream,)

    @property
    def fingerprint(self) -> str:
        """Constant fingerprint; the feature files themselves are part of the media's digest."""
        return fingerprint({"given": 1})

    def compute(self, media: GivenFeatures) -> dict[str, Features]:
        """Return the features unchanged; the store rejects values that are not finite."""
        return {self.config.stream: Features(media.x_TD, media.rate_hz)}

    def shape(self, media: GivenFeatures) -> dict[str, tuple[int, int]]:
        """Return (T, D) of the stream."""
        return {self.config.stream: _shape(media)}


@dataclass(frozen=True)
class StreamsStep:
    """A feature step that passes several precomputed streams through.

    Attributes:
        config: Feature configuration, which lists the streams in order. In a complete recipe this
            list is always set.
    """

    config: StreamsFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams, as listed in the recipe."""
        return self.config.streams

    @property
    def fingerprint(self) -> str:
        """The same constant as `PrecomputedStep.fingerprint`."""
        return fingerprint({"given": 1})

    def compute(self, media: GivenStreams) -> dict[str, Features]:
        """Return the features unchanged; the store rejects missing and non-finite ones."""
        # A stream that the clip lacks is left out here, not refused, so that the store can count
        # the clip under the reason `missing_stream`.
        return {
            name: Features(media[name].x_TD, media[name].rate_hz)
            for name in self.streams
            if name in media
        }

    def shape(self, media: GivenStreams) -> dict[str, tuple[int, int]]:
        """Return stream name → (T, D)."""
        return {name: _shape(media[name]) for name in self.streams if name in media}


def _shape(given: GivenFeatures) -> tuple[int, int]:
    """Return (T, D)."""
    frames, width = given.x_TD.shape
    return frames, width
