"""What a feature step must do: turn a clip's media into one array, the same one every time.

A pure function of the media and the step's configuration: no state, no chance. Its fingerprint
goes into the store's, so a change of configuration or of code computes the store anew.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.pose import PointLayout


@dataclass(frozen=True)
class Features:
    """What was computed of a clip.

    Attributes:
        x_TD: float32, finite.
        rate_hz: features a second.
        layout: the points whose coordinates a frame's features are; None: no points.
    """

    x_TD: NDArray[np.float32]
    rate_hz: float
    layout: PointLayout | None = None


class FeatureStep(Protocol):
    """One stream of features. Implementations pickle."""

    @property
    def stream(self) -> str:
        """Name of the stream that this makes, for example `pose`."""

    @property
    def fingerprint(self) -> str:
        """Names the configuration and the version of the code that computes."""

    def compute(self, media: Any) -> Features:
        """Features of one clip.

        Args:
            media: what the source of the same recipe reads (`sources.contract.Media`).

        Raises:
            ClipError: with the reason under which the clip is counted.
        """

    def shape(self, media: Any) -> tuple[int, int]:
        """T and D that `compute` will give, about; for plans, so it must be cheap.

        Raises:
            ClipError: as `compute`, where that shows early.
        """
