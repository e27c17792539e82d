"""A pose as one vector a frame: chosen points, legs hidden, normalised by the shoulders, flattened.

One person's points come in, (T, D) float32 go out: 178 points of MediaPipe Holistic times 3
coordinates make 534. The numbers are those of pose-format's own chain (`pose_hide_legs`,
`reduce_holistic`, `normalize`, zero where the confidence is 0), computed on plain arrays with the
work that depends on the layout alone done once: 5 times as fast, reading included (26 How2Sign
clips of 15 to 441 frames, one core: 0.7 ms a clip against 3.7). Not for joint angles or bones: one
centre and one scale a clip keep the signer's build.

Shapes: T frames, P people, J points, C coordinates, D = J·C.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.pose import PointLayout, PoseSequence
from kinesweep.core.recipe.source import PoseFeaturesConfig
from kinesweep.features.contract import Features
from kinesweep.features.layouts import Selection, no_shoulders, select

CODE_VERSION = 1
"""Raised when the numbers of unchanged configurations change."""


@dataclass(frozen=True)
class PoseFeatures:
    """The `pose` stream.

    Attributes:
        config: which points, and how they are normalised.
    """

    config: PoseFeaturesConfig
    streams: ClassVar[tuple[str, ...]] = ("pose",)

    @property
    def fingerprint(self) -> str:
        """Names the configuration and the version of this code."""
        # Whose poses they are is in the poses.
        config = self.config.model_dump(mode="json", exclude={"estimator"})
        return fingerprint({"config": config, "code": CODE_VERSION})

    def compute(self, media: PoseSequence) -> dict[str, Features]:
        """Features of the first person of a sequence, (ceil(T / stride), D).

        Raises:
            ClipError: reason `no_people` (no point is found in any frame), `unknown_layout`,
                `no_shoulders` (never both found, or in one place) or `nan_frames`.
        """
        found = Features(self(media), self.rate_hz(media.fps), self.layout(media.layout))
        return dict.fromkeys(self.streams, found)

    def shape(self, media: PoseSequence) -> dict[str, tuple[int, int]]:
        """Frames that are kept, and coordinates of the chosen points.

        Raises:
            ClipError: reason `unknown_layout`.
        """
        frames, _, _, coordinates = media.points_TPJC.shape
        width = self.layout(media.layout).num_points * coordinates
        return dict.fromkeys(self.streams, (-(-frames // self.config.stride), width))

    def layout(self, layout: PointLayout) -> PointLayout:
        """The chosen points of a file's layout.

        Raises:
            ClipError: reason `unknown_layout`.
        """
        return select(layout, self.config.points, self.config.hide_legs).layout

    def rate_hz(self, fps: float) -> float:
        """Frames a second that are kept."""
        return fps / self.config.stride

    def __call__(self, pose: PoseSequence) -> NDArray[np.float32]:
        """`compute`'s array alone.

        Raises:
            ClipError: as `compute`.
        """
        chosen = select(pose.layout, self.config.points, self.config.hide_legs)
        x_TJC, found_TJ = _take(pose, chosen)
        found_TJ[:, chosen.legs] = False
        if not found_TJ.any():
            raise ClipError("no point of a person is found in any frame", "no_people")
        if self.config.normalize == "shoulders":
            if chosen.shoulders is None:
                raise no_shoulders(pose.layout)
            _normalize(x_TJC, found_TJ, chosen.shoulders)
        if not found_TJ.all():
            x_TJC[~found_TJ] = 0
        features_TD = x_TJC.reshape(len(x_TJC), -1)[:: self.config.stride]
        if not np.isfinite(features_TD).all():
            raise ClipError("there are coordinates that are not numbers", "nan_frames")
        return features_TD


def _take(pose: PoseSequence, chosen: Selection) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Coordinates of the chosen points, a copy, and which of them were found."""
    x_TJC, confidence_TJ = pose.points_TPJC[:, 0], pose.confidence_TPJ[:, 0]
    if chosen.points is None:
        return x_TJC.copy(), confidence_TJ > 0
    return x_TJC.take(chosen.points, axis=1), confidence_TJ.take(chosen.points, axis=1) > 0


def _normalize(
    x_TJC: NDArray[np.float32], found_TJ: NDArray[np.bool_], shoulders: tuple[int, int]
) -> None:
    """Moves the mean shoulder midpoint to 0 and scales the mean shoulder distance to 1, in place.

    Means are over the frames in which both shoulders are found.

    Raises:
        ClipError: reason `no_shoulders`.
    """
    right, left = shoulders
    both_T = found_TJ[:, right] & found_TJ[:, left]
    right_TC, left_TC = x_TJC[both_T, right], x_TJC[both_T, left]
    if not len(right_TC):
        raise ClipError("the two shoulders are never found in one frame", "no_shoulders")
    distance = np.sqrt(((right_TC - left_TC) ** 2).sum(-1)).mean()
    if distance == 0:
        raise ClipError("the two shoulders are always in one place", "no_shoulders")
    x_TJC -= ((left_TC + right_TC) / 2).mean(0)
    x_TJC *= 1 / distance
