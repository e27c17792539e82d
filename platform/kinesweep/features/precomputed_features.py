"""Feature steps for precomputed features in one or several streams, which compute nothing.

Shapes: T frames, D width.
"""

from dataclasses import dataclass

from kinesweep.config.recipe.h5_shards import StreamsFeaturesConfig
from kinesweep.config.recipe.source import PrecomputedFeaturesConfig
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.features.contract import Features
from kinesweep.sources.base import PrecomputedFeatures, PrecomputedStreams


@dataclass(frozen=True)
class PrecomputedStep:
    """A feature step that passes one precomputed stream through.

    Attributes:
        config: Feature configuration, which names the stream.
    """

    config: PrecomputedFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the name of the single stream, as set in the recipe."""
        return (self.config.stream,)

    @property
    def fingerprint(self) -> str:
        """Return a hash of the stride; the feature files are part of the media's digest."""
        # Left out if it is 1, so that fingerprints of earlier stores stay valid.
        stride = self.config.stride
        return compute_fingerprint({"given": 1} | ({"stride": stride} if stride > 1 else {}))

    def compute_features(self, media: PrecomputedFeatures) -> dict[str, Features]:
        """Return every n-th of the precomputed features, without any other change.

        They are not checked: the store rejects values that are not finite.
        """
        stride = self.config.stride
        return {self.config.stream: Features(media.x_TD[::stride], media.rate_hz / stride)}

    def estimate_shapes(self, media: PrecomputedFeatures) -> dict[str, tuple[int, int]]:
        """Return the exact shape of the stream: its name → (T, D)."""
        num_frames, width = _get_shape(media)
        return {self.config.stream: (-(-num_frames // self.config.stride), width)}


@dataclass(frozen=True)
class PrecomputedStreamsStep:
    """A feature step that passes several precomputed streams through.

    Attributes:
        config: Feature configuration, which lists the streams in order. In a complete recipe this
            list is always set.
    """

    config: StreamsFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the names of the streams, as listed in the recipe."""
        return self.config.streams

    @property
    def fingerprint(self) -> str:
        """Return the same constant as `PrecomputedStep.fingerprint`."""
        return compute_fingerprint({"given": 1})

    def compute_features(self, media: PrecomputedStreams) -> dict[str, Features]:
        """Return the precomputed features unchanged, in the order of the recipe's streams.

        They are not checked: the store rejects missing streams and values that are not finite.
        """
        # A stream that the clip lacks is left out here, not rejected, so that the store can count
        # the clip under the reason `missing_stream`.
        return {
            name: Features(media[name].x_TD, media[name].rate_hz)
            for name in self.streams
            if name in media
        }

    def estimate_shapes(self, media: PrecomputedStreams) -> dict[str, tuple[int, int]]:
        """Return the exact shape of each stream that the clip has: stream → (T, D)."""
        return {name: _get_shape(media[name]) for name in self.streams if name in media}


def _get_shape(features: PrecomputedFeatures) -> tuple[int, int]:
    """Return the shape (T, D) of precomputed features."""
    num_frames, width = features.x_TD.shape
    return num_frames, width
