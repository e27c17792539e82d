"""The interface of a pose estimator.

Its class is imported twice: in the process of Kinesweep, to read `version` and `requirements`, and
in the estimator's environment, where it runs. Therefore its module may import at the top only
packages that both have (numpy, pose-format); its own libraries are imported in `__init__`.

Shapes: T frames of H × W pixels.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


class Estimator(Protocol):
    """A pose estimator, created once per process and called for one video after another.

    Attributes:
        version: Version of everything that affects poses: code, weights and settings.
        requirements: Pinned requirements that pip installs in addition to PyAV and pose-format.
    """

    version: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]]

    def __call__(
        self, frames: Iterable[NDArray[np.uint8]], fps: float, width: int, height: int
    ) -> Any:
        """Estimate the poses of one video, independent of any earlier video.

        Args:
            frames: T arrays (H, W, 3), uint8 RGB, decoded lazily.
            fps: Frames per second.
            width: Width of the frames in pixels, W.
            height: Height of the frames in pixels, H.

        Returns:
            A `pose_format.Pose` with T frames.
        """
