"""Features that other packages add by entry point, and the base class that they inherit from."""

from abc import ABC, abstractmethod
from typing import Any

from kinesweep.config.parts import FeaturesPart, build_part
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.features.contract import Features, FeatureStep


class SingleStreamStep(ABC):
    """Base class of feature steps of other packages, with one stream, named by `stream`.

    A subclass implements `compute`, a pure function of media and configuration, and must pickle.
    The package and its version are part of a store's fingerprint, so that features are computed
    again with another version of the package.

    Args:
        config: Section of the recipe.
    """

    stream: str = "features"

    def __init__(self, config: FeaturesPart) -> None:
        self.config = config

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the name of the stream."""
        return (self.stream,)

    @property
    def fingerprint(self) -> str:
        """Return a hash of the configuration."""
        return compute_fingerprint(self.config.model_dump(mode="json"))

    @abstractmethod
    def compute(self, media: Any) -> Features:
        """Compute the features of one clip.

        Args:
            media: Media as the source of the same recipe reads them (`kinesweep.sources.base`).

        Raises:
            ClipError: If the clip cannot be used, with the reason under which it is counted.
        """

    def compute_features(self, media: Any) -> dict[str, Features]:
        """Compute the features of one clip, by stream."""
        return {self.stream: self.compute(media)}

    def estimate_shapes(self, media: Any) -> dict[str, tuple[int, int]]:
        """Return the shape (T, D) of the features; override it if computing them is slow."""
        num_frames, width = self.compute(media).x_TD.shape
        return {self.stream: (num_frames, width)}


def build_feature_step_part(config: FeaturesPart) -> FeatureStep:
    """Build the feature step of a package, whose class is called as `(config)`.

    Raises:
        InputError: If its package is not installed, or its class cannot be imported or built or is
            not a feature step.
    """
    step: FeatureStep = build_part(config, (config,), FeatureStep)
    return step


__all__ = ["SingleStreamStep", "build_feature_step_part"]
