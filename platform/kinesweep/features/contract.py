"""What a feature step must do: turn a clip's media into its streams, the same ones every time.

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
    """One stream of a clip.

    Attributes:
        x_TD: float32, finite.
        rate_hz: features a second.
        layout: the points whose coordinates a frame's features are; None: no points.
    """

    x_TD: NDArray[np.float32]
    rate_hz: float
    layout: PointLayout | None = None


class FeatureStep(Protocol):
    """One or several streams of features. Implementations pickle."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that this makes, for example `pose`, in the store's order."""

    @property
    def fingerprint(self) -> str:
        """Names the configuration and the version of the code that computes."""

    def compute(self, media: Any) -> dict[str, Features]:
        """Stream → features of one clip; lengths and rates of its streams may differ.

        Args:
            media: what the source of the same recipe reads (`sources.contract.Media`).

        Raises:
            ClipError: with the reason under which the clip is counted.
        """

    def shape(self, media: Any) -> dict[str, tuple[int, int]]:
        """Stream → T and D that `compute` will give, about; for plans, so it must be cheap.

        Raises:
            ClipError: as `compute`, where that shows early.
        """
