"""Pose features: one vector per frame with selected points, normalized by the shoulders.

The points of one person come in, and float32 (T, D) goes out; 178 points of MediaPipe Holistic with
3 coordinates give D = 534. Legs are masked. The values equal those of pose-format's own functions
(`pose_hide_legs`, `reduce_holistic`, `normalize`, zero where the confidence is 0), but are computed
on plain arrays, and work that depends only on the layout is done once. This is 5 times as fast,
including reading (26 How2Sign clips of 15 to 441 frames on one core: 0.7 ms per clip instead of
3.7). Center and scale are constant within a clip, so the features keep the signer's build; use
other features for joint angles or bones. Points are smoothed and resampled before, if configured
(`features.points`), so that center and scale are those of equal steps of time.

Shapes: T frames, P people, J points, C coordinates, D = J·C.
"""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.source import PoseFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.skeleton.keypoint_sets import KEYPOINT_SETS
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.features.contract import Features
from kinesweep.features.keypoint_selection import (
    KeypointSelection,
    make_no_shoulders_error,
    select_keypoints,
)
from kinesweep.features.points import (
    compute_rate_hz,
    count_frames,
    describe_settings,
    make_no_people_error,
    prepare_points,
)
from kinesweep.features.points.missing_points import append_detection_mask
from kinesweep.features.points.published_normalization import normalize_as_published

# Increase this when the values for an unchanged configuration change.
CODE_VERSION = 1


@dataclass(frozen=True)
class PoseFeatures:
    """A feature step that computes the `pose` stream.

    Attributes:
        config: Point selection, normalization and stride.
    """

    config: PoseFeaturesConfig
    streams: ClassVar[tuple[str, ...]] = ("pose",)

    @property
    def fingerprint(self) -> str:
        """Return a hash of the configuration and of the version of this code."""
        # The choice of the estimator already shows in the poses, which are part of the media.
        config = describe_settings(self.config)
        del config["estimator"]
        if self.config.points in KEYPOINT_SETS:
            # A correction of the table changes the features.
            config["keypoint_set"] = asdict(KEYPOINT_SETS[self.config.points])
        return compute_fingerprint({"config": config, "code": CODE_VERSION})

    def compute_features(self, media: PoseSequence) -> dict[str, Features]:
        """Compute the pose features of the first person: `pose` → (ceil(T / stride), D).

        T is the number of frames at `features.fps`, or that of the file. Masked legs are 0, and so
        are undetected points, unless `features.missing` fills them.

        Raises:
            ClipError: If the clip cannot be used; reason `no_people` (no point is detected in any
                frame), `unknown_layout`, `no_shoulders` (never both detected in one frame, or
                always at the same position), `no_scale` or `no_picture_size` (a published keypoint
                set cannot be normalized), `nan_frames` (a coordinate is not finite),
                `implausible_rate` (it cannot be resampled) or `smooth_window` (it cannot be
                smoothed).
        """
        features = Features(
            self(media),
            self.compute_rate_hz(media.fps),
            self.select_layout(media.layout),
            has_mask=self.config.missing == "mask" or self._has_score,
        )
        return dict.fromkeys(self.streams, features)

    def estimate_shapes(self, media: PoseSequence) -> dict[str, tuple[int, int]]:
        """Compute the exact shape of `pose`: number of kept frames and coordinates per frame.

        Raises:
            ClipError: If the layout lacks required points; reason `unknown_layout`. If the file
                cannot be resampled; reason `implausible_rate`.
        """
        num_frames, _, _, num_coordinates = media.points_TPJC.shape
        if self.config.normalize == "published":
            # A slice of all coordinates up to None keeps them all.
            kept = range(num_coordinates)[: KEYPOINT_SETS[self.config.points].num_coordinates]
            num_coordinates = len(kept) + self._has_score
        values_per_point = num_coordinates + (self.config.missing == "mask")
        width = self.select_layout(media.layout).num_points * values_per_point
        shape = count_frames(num_frames, media.fps, self.config), width
        return dict.fromkeys(self.streams, shape)

    @property
    def _has_score(self) -> bool:
        """Return whether each point has its confidence after its coordinates."""
        return self.config.normalize == "published" and KEYPOINT_SETS[self.config.points].has_score

    def select_layout(self, layout: PointLayout) -> PointLayout:
        """Return the layout of the points that the configuration selects from a layout.

        Raises:
            ClipError: If the layout lacks required points; reason `unknown_layout`.
        """
        return select_keypoints(layout, self.config.points, self.config.hide_legs).layout

    def compute_rate_hz(self, fps: float) -> float:
        """Compute the number of kept frames per second from the frame rate of a pose file."""
        return compute_rate_hz(fps, self.config)

    def __call__(self, pose: PoseSequence) -> NDArray[np.float32]:
        """Compute the pose features of the first person as an array, (ceil(T / stride), D).

        Raises:
            ClipError: If the clip cannot be used; see `compute_features`.
        """
        selection = select_keypoints(pose.layout, self.config.points, self.config.hide_legs)
        x_TJC, confidence_TJ = _select_points(pose, selection)
        # Masked before the check: a clip in which only legs are detected counts as `no_people`.
        confidence_TJ[:, selection.legs] = 0
        points = prepare_points(x_TJC, confidence_TJ, pose.fps, self.config)
        x_TJC, detected_TJ, known_TJ = points.x_TJC, points.detected_TJ, points.known_TJ
        if not detected_TJ.any():
            raise make_no_people_error(confidence_TJ, self.config.fps)
        # Center and scale stay those of detected points; only the values to be kept are filled.
        if self.config.normalize == "shoulders":
            if selection.shoulders is None:
                raise make_no_shoulders_error(pose.layout)
            _normalize_by_shoulders(x_TJC, detected_TJ, selection.shoulders)
        elif self.config.normalize == "published":
            keypoint_set = KEYPOINT_SETS[self.config.points]
            x_TJC, known_TJ = normalize_as_published(points, keypoint_set, pose.frame_size)
        # After normalization, which would move the zeros of undetected points.
        if not known_TJ.all():
            x_TJC[~known_TJ] = 0
        if self.config.missing == "mask":
            x_TJC = append_detection_mask(x_TJC, detected_TJ)
        # The stride comes last, so that center and scale are means over all frames.
        features_TD = x_TJC.reshape(len(x_TJC), -1)[:: self.config.stride]
        if not np.isfinite(features_TD).all():
            raise ClipError("some coordinates are not finite numbers", "nan_frames")
        return features_TD


def _select_points(
    pose: PoseSequence, selection: KeypointSelection
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Select points of the first person.

    Returns:
        The points, (T, J, C), and their confidence, (T, J); both are copies.
    """
    x_TJC, confidence_TJ = pose.points_TPJC[:, 0], pose.confidence_TPJ[:, 0]
    if selection.points is None:
        return x_TJC.copy(), confidence_TJ.copy()
    return x_TJC.take(selection.points, axis=1), confidence_TJ.take(selection.points, axis=1)


def _normalize_by_shoulders(
    x_TJC: NDArray[np.float32], detected_TJ: NDArray[np.bool_], shoulders: tuple[int, int]
) -> None:
    """Normalize points in place: mean shoulder midpoint to 0 and mean shoulder distance to 1.

    Means are taken over the frames in which both shoulders are detected.

    Args:
        x_TJC: Points; the array is changed.
        detected_TJ: Mask of the detected points.
        shoulders: Indices of the right and the left shoulder.

    Raises:
        ClipError: If no frame shows both shoulders or their distance is 0; reason `no_shoulders`.
    """
    right, left = shoulders
    both_T = detected_TJ[:, right] & detected_TJ[:, left]
    right_TC, left_TC = x_TJC[both_T, right], x_TJC[both_T, left]
    if not len(right_TC):
        raise ClipError("no frame shows both shoulders", "no_shoulders")
    distance = np.sqrt(((right_TC - left_TC) ** 2).sum(-1)).mean()
    if distance == 0:
        raise ClipError("both shoulders are at the same position in all frames", "no_shoulders")
    x_TJC -= ((left_TC + right_TC) / 2).mean(0)
    x_TJC *= 1 / distance
