"""The interface of a feature step, which converts the media of a clip into feature streams.

A step is a pure function of the media and its configuration, without state or randomness. Its
fingerprint is part of the store's fingerprint, so a change of the configuration or of the code
triggers a new extraction.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.skeleton.pose import PointLayout


@dataclass(frozen=True)
class Features:
    """The features of one stream of a clip.

    Attributes:
        x_TD: Features, float32 (T, D); all values are finite.
        rate_hz: Feature vectors per second.
        layout: Points whose coordinates form the feature vector; None if it holds no points.
    """

    x_TD: NDArray[np.float32]
    rate_hz: float
    layout: PointLayout | None = None


class FeatureStep(Protocol):
    """A step that computes one or more feature streams. Implementations must be picklable."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the computed streams, for example `pose`, in the order of the store."""

    @property
    def fingerprint(self) -> str:
        """Hash of the configuration and of the version of the code that computes the features."""

    def compute_features(self, media: Any) -> dict[str, Features]:
        """Compute the features of one clip.

        Args:
            media: Media as read by the source of the same recipe (`sources.contract.Media`).

        Returns:
            Stream name → features. Lengths and rates may differ between streams.

        Raises:
            ClipError: If the clip cannot be used. Its reason is the category under which the
                dropped clip is counted.
        """

    def estimate_shapes(self, media: Any) -> dict[str, tuple[int, int]]:
        """Estimate the shape of each stream without computing it.

        Plans call this for many clips, so it must be cheap.

        Returns:
            Stream name → approximate (T, D) of the result of `compute_features`.

        Raises:
            ClipError: If it is already clear that `compute_features` will fail.
        """
