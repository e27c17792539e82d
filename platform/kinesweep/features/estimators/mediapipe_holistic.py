"""MediaPipe Holistic through pose-format: 576 points, the layout of most pose corpora.

The models are part of the wheel, so nothing is downloaded later. MediaPipe 0.10.30 and later no
longer contain Holistic, and the versions with it need numpy below 2.
"""

from collections.abc import Iterable
from typing import Any, ClassVar


class Mediapipe:
    """The estimator `mediapipe`, with the settings of pose-format's `video_to_pose`.

    Model complexity is 1, and points are tracked from frame to frame.
    """

    version: ClassVar[str] = "holistic-1"
    requirements: ClassVar[tuple[str, ...]] = ("mediapipe==0.10.21", "numpy==1.26.4")
    refines_face: ClassVar[bool] = False

    def __init__(self) -> None:
        from pose_format.utils.holistic import load_holistic

        self._load = load_holistic

    def __call__(self, frames: Iterable[Any], fps: float, width: int, height: int) -> Any:
        """Estimate the poses of one video and return them as a `pose_format.Pose`.

        Args:
            frames: RGB frames of the video.
            fps: Frames per second.
            width: Width of the frames in pixels.
            height: Height of the frames in pixels.
        """
        settings: dict[str, Any] = {"model_complexity": 1}
        if self.refines_face:
            settings["refine_face_landmarks"] = True
        # No reuse between videos: a reused model continues to track the previous video, which
        # moved points by up to 37 pixels.
        return self._load(
            frames,
            fps=fps,
            width=width,
            height=height,
            reuse=False,
            additional_holistic_config=settings,
        )


class MediapipeRefined(Mediapipe):
    """The estimator `mediapipe_refined`: 10 more face points, those of the irises, 586 in all."""

    version: ClassVar[str] = "holistic-refined-1"
    refines_face: ClassVar[bool] = True
