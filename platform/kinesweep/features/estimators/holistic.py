"""MediaPipe Holistic through pose-format: 576 points, as most corpora of poses have them.

Its models lie in its wheel, so nothing is downloaded later. 0.10.30 and later have no Holistic, and
what has it needs numpy below 2.
"""

from collections.abc import Iterable
from typing import Any, ClassVar


class Mediapipe:
    """The settings of `video_to_pose`: model complexity 1, tracking from frame to frame."""

    version: ClassVar[str] = "holistic-1"
    requirements: ClassVar[tuple[str, ...]] = ("mediapipe==0.10.21", "numpy==1.26.4")

    def __init__(self) -> None:
        from pose_format.utils.holistic import load_holistic

        self._load = load_holistic

    def __call__(self, frames: Iterable[Any], fps: float, width: int, height: int) -> Any:
        """Poses of one video.

        The model is made anew for each: one that is used again still tracks what it saw before, and
        moved points by up to 37 pixels.
        """
        settings = {"model_complexity": 1}
        return self._load(
            frames,
            fps=fps,
            width=width,
            height=height,
            reuse=False,
            additional_holistic_config=settings,
        )
