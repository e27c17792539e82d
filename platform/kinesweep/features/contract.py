"""What a feature step must do: turn a clip's pose into one array, the same one every time.

A pure function of the pose and the step's configuration: no files, no state, no chance. Its
fingerprint goes into the store's, so a change of configuration or of code computes the store anew.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.pose import PointLayout, PoseSequence


class FeatureStep(Protocol):
    """One stream of features. Implementations pickle."""

    @property
    def stream(self) -> str:
        """Name of the stream that this makes, for example `pose`."""

    @property
    def fingerprint(self) -> str:
        """Names the configuration and the version of the code that computes."""

    def __call__(self, pose: PoseSequence) -> NDArray[np.float32]:
        """Features of one clip, float32 (T, D), finite.

        Raises:
            ClipError: with the reason under which the clip is counted.
        """

    def layout(self, layout: PointLayout) -> PointLayout | None:
        """The points whose coordinates a frame's features are, for a file's layout; or None."""

    def rate_hz(self, fps: float) -> float:
        """Features a second of a clip with `fps` frames a second."""
