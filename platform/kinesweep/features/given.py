"""Features that a corpus brings with it: nothing is computed, only checked.

Shapes: T frames, D width.
"""

from dataclasses import dataclass

from kinesweep.core.hashing import fingerprint
from kinesweep.core.recipe.source import GivenFeaturesConfig
from kinesweep.features.contract import Features
from kinesweep.sources.contract import GivenFeatures


@dataclass(frozen=True)
class GivenStep:
    """A stream that is there already.

    Attributes:
        config: what it is called.
    """

    config: GivenFeaturesConfig

    @property
    def stream(self) -> str:
        """As the recipe calls it."""
        return self.config.stream

    @property
    def fingerprint(self) -> str:
        """The same for all: the features are in the media."""
        return fingerprint({"given": 1})

    def compute(self, media: GivenFeatures) -> Features:
        """The features themselves; what is not finite the store refuses."""
        return Features(media.x_TD, media.rate_hz)

    def shape(self, media: GivenFeatures) -> tuple[int, int]:
        """T and D."""
        frames, width = media.x_TD.shape
        return frames, width
