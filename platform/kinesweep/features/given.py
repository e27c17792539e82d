"""Features that a corpus brings with it, one stream or several: nothing is computed.

Shapes: T frames, D width.
"""

from dataclasses import dataclass

from kinesweep.core.hashing import fingerprint
from kinesweep.core.recipe.shards import StreamsFeaturesConfig
from kinesweep.core.recipe.source import GivenFeaturesConfig
from kinesweep.features.contract import Features
from kinesweep.sources.contract import GivenFeatures, GivenStreams


@dataclass(frozen=True)
class GivenStep:
    """A stream that is there already.

    Attributes:
        config: what it is called.
    """

    config: GivenFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """One, as the recipe calls it."""
        return (self.config.stream,)

    @property
    def fingerprint(self) -> str:
        """The same for all: the features are in the media."""
        return fingerprint({"given": 1})

    def compute(self, media: GivenFeatures) -> dict[str, Features]:
        """The features themselves; what is not finite the store refuses."""
        return {self.config.stream: Features(media.x_TD, media.rate_hz)}

    def shape(self, media: GivenFeatures) -> dict[str, tuple[int, int]]:
        """T and D."""
        return {self.config.stream: _shape(media)}


@dataclass(frozen=True)
class StreamsStep:
    """Several streams that are there already.

    Attributes:
        config: which of them, in which order; as a recipe has it they are named.
    """

    config: StreamsFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """As the recipe names them."""
        return self.config.streams

    @property
    def fingerprint(self) -> str:
        """The same as of one stream: the features are in the media."""
        return fingerprint({"given": 1})

    def compute(self, media: GivenStreams) -> dict[str, Features]:
        """The features themselves; what is not finite, or not there, the store refuses."""
        return {
            name: Features(media[name].x_TD, media[name].rate_hz)
            for name in self.streams
            if name in media
        }

    def shape(self, media: GivenStreams) -> dict[str, tuple[int, int]]:
        """Stream → T and D."""
        return {name: _shape(media[name]) for name in self.streams if name in media}


def _shape(given: GivenFeatures) -> tuple[int, int]:
    frames, width = given.x_TD.shape
    return frames, width
