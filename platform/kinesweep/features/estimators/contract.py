"""What a pose estimator must be.

Its class is imported twice: here, to read `version` and `requirements`, and in its environment,
where it works. So its module imports at the top only what is in both (numpy, pose-format); the
estimator's own libraries are imported when it is made.

Shapes: T frames of H × W pixels.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


class Estimator(Protocol):
    """Made once in each process, called for one video after the other.

    Attributes:
        version: of whatever changes poses: the code, its weights, its settings.
        requirements: what pip installs beside PyAV and pose-format; pin them.
    """

    version: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]]

    def __call__(
        self, frames: Iterable[NDArray[np.uint8]], fps: float, width: int, height: int
    ) -> Any:
        """Poses of one video, which depend on nothing that came before.

        Args:
            frames: T arrays (H, W, 3), RGB, read as they are asked for.
            fps: frames a second.
            width: W.
            height: H.

        Returns:
            A `pose_format.Pose` of T frames.
        """
