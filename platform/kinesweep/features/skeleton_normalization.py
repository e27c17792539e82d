"""Normalization of skeleton motions: center on the root, scale to the bones, keep every n-th frame.

The poses of a motion come in, and a `NormalizedMotion` goes out, which can be converted to features
and aligned to the frames of a clip. MediaPipe's world landmarks repeat the body in meters relative
to the hips; they share no skeleton with the other points and are dropped.

Shapes: T frames of a motion or a clip, R frames of a reference motion, J points, B bones, C
coordinates, D = J·C.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.skeleton.skeleton import Skeleton, find_skeleton
from kinesweep.features.alignment import Alignment, apply_alignment
from kinesweep.features.contract import Features
from kinesweep.features.points import make_no_people_error, prepare_points
from kinesweep.features.points.missing_points import append_detection_mask

_WORLD_COMPONENT = "POSE_WORLD_LANDMARKS"


@dataclass(frozen=True)
class NormalizedMotion:
    """A centered and scaled motion.

    Attributes:
        x_TJC: Points.
        detected_TJ: Mask of the detected points, and of those filled by `missing: interpolate`.
        skeleton: Skeleton that the points form.
    """

    x_TJC: NDArray[np.float32]
    detected_TJ: NDArray[np.bool_]
    skeleton: Skeleton

    def flatten(self) -> NDArray[np.float32]:
        """Flatten the points of each frame into one vector, (T, D)."""
        return self.x_TJC.reshape(len(self.x_TJC), -1)

    def to_features(self, rate_hz: float, with_mask: bool = False) -> Features:
        """Convert the motion to features (T, D).

        Args:
            rate_hz: Frames per second.
            with_mask: Whether each point gets its mask as a further value.
        """
        if not with_mask:
            return Features(self.flatten(), rate_hz, self.skeleton.layout)
        x_TJC = append_detection_mask(self.x_TJC, self.detected_TJ)
        x_TD = x_TJC.reshape(len(x_TJC), -1)
        return Features(x_TD, rate_hz, self.skeleton.layout, has_mask=True)

    def align_to_clip(self, alignment: Alignment, from_root: bool) -> "NormalizedMotion":
        """Align this reference motion to the frames of a clip and return the aligned motion.

        Args:
            alignment: Result of `compute_alignment`.
            from_root: Whether to center on the root in the first remaining frame that shows it.
                Alignment may drop the frame on which the motion was centered before.

        Raises:
            ClipError: If no remaining frame shows the root; reason `no_root`. It is raised only
                with `from_root`.
        """
        _, num_points, num_coordinates = self.x_TJC.shape
        # The mask is needed per value: a weighted mean over frames excludes undetected points.
        detected_RD = self.detected_TJ.repeat(num_coordinates, axis=1)
        x_TD, detected_TD = apply_alignment(alignment, self.flatten(), detected_RD)
        x_TJC = x_TD.reshape(len(x_TD), num_points, num_coordinates)
        # All coordinates of a point share one mask value.
        detected_TJ = detected_TD[:, ::num_coordinates]
        if from_root:
            x_TJC -= _find_root_positions(x_TJC, detected_TJ, self.skeleton, per_frame=False)
            x_TJC[~detected_TJ] = 0
        return NormalizedMotion(x_TJC, detected_TJ, self.skeleton)


def normalize_motion(pose: PoseSequence, config: SkeletonFeaturesConfig) -> NormalizedMotion:
    """Center and scale the motion of the first person as configured; keep every `stride`-th frame.

    Before that, the motion is smoothed and resampled if configured. Undetected points become 0,
    unless `config.missing` fills them.

    Args:
        pose: Poses of the motion.
        config: Config with the centering, the scaling, the stride and the settings of points.

    Raises:
        ClipError: If the motion cannot be used; reason `no_people` (no point is detected in any
            frame), `unknown_layout`, `no_root` (it is to be centered, but no frame shows the root),
            `no_bones` (it is to be scaled, but no bone has a length), or `implausible_rate` or
            `smooth_window` (see `prepare_points`).
    """
    point_indices, layout = select_non_world_points(pose.layout)
    # Indexing by an array copies, so the in-place arithmetic does not change the media.
    x_TJC, confidence_TJ = (
        pose.points_TPJC[:, 0, point_indices],
        pose.confidence_TPJ[:, 0, point_indices],
    )
    points = prepare_points(x_TJC, confidence_TJ, pose.fps, config)
    x_TJC, detected_TJ, known_TJ = points.x_TJC, points.detected_TJ, points.known_TJ
    if not detected_TJ.any():
        raise make_no_people_error(confidence_TJ, config.fps)
    skeleton = find_skeleton(layout)
    if skeleton is None:
        components = ", ".join(f"{name} ({len(points)})" for name, points in pose.layout.components)
        text = f"the file has the point components {components}: they form no known skeleton"
        raise ClipError(text, "unknown_layout")
    # The mean bone length stays that of detected points; a filled root is better than a held one.
    if config.centre != "none":
        x_TJC -= _find_root_positions(x_TJC, known_TJ, skeleton, config.centre == "each")
    if config.scale == "bone":
        x_TJC /= _compute_mean_bone_length(x_TJC, detected_TJ, skeleton)
    # Last, because centering would move the zeros of undetected points.
    x_TJC[~known_TJ] = 0
    stride = config.stride
    return NormalizedMotion(x_TJC[::stride], known_TJ[::stride], skeleton)


@lru_cache(maxsize=64)
def select_non_world_points(layout: PointLayout) -> tuple[NDArray[np.intp], PointLayout]:
    """Select all points of a layout except MediaPipe's world landmarks beside others.

    Returns:
        Indices of the selected points in the layout, and the layout of the selected points.
    """
    # A layout with a tree of its own has no such points; without others, they are the skeleton.
    if layout.tree is not None or {name for name, _ in layout.components} == {_WORLD_COMPONENT}:
        return np.arange(layout.num_points), layout
    names = [name for name, points in layout.components for _ in points]
    indices = [index for index, name in enumerate(names) if name != _WORLD_COMPONENT]
    remaining = tuple(item for item in layout.components if item[0] != _WORLD_COMPONENT)
    return np.array(indices, np.intp), PointLayout(remaining)


def _find_root_positions(
    x_TJC: NDArray[np.float32], detected_TJ: NDArray[np.bool_], skeleton: Skeleton, per_frame: bool
) -> NDArray[np.float32]:
    """Find the position of the skeleton's root in the first frame that shows it or in each frame.

    Args:
        x_TJC: Points.
        detected_TJ: Mask of the detected points.
        skeleton: Skeleton that the points form.
        per_frame: Whether to find the position in each frame.

    Returns:
        The position in the first frame that shows the root, (1, 1, C). With `per_frame`, the
        position in each frame, (T, 1, C); a frame without the root has the last known position, or
        the first one if none is known yet.

    Raises:
        ClipError: If no frame shows the root; reason `no_root`.
    """
    root = skeleton.center
    root_frames = np.flatnonzero(detected_TJ[:, root])
    if not len(root_frames):
        names = [point for _, points in skeleton.layout.components for point in points]
        text = f"no frame shows the root `{names[root]}`; set `features.centre: none`"
        raise ClipError(text, "no_root")
    if not per_frame:
        return x_TJC[root_frames[:1], root][:, None]
    # Each frame takes the last frame so far that shows the root; earlier frames take the first one.
    frames_T = np.arange(len(x_TJC))
    last_T = np.maximum(np.searchsorted(root_frames, frames_T, side="right") - 1, 0)
    return x_TJC[root_frames[last_T], root][:, None]


def _compute_mean_bone_length(
    x_TJC: NDArray[np.float32], detected_TJ: NDArray[np.bool_], skeleton: Skeleton
) -> np.float32:
    """Compute the mean bone length over all bones and frames in which both ends are detected.

    Raises:
        ClipError: If no frame shows both ends of a bone or the mean is 0; reason `no_bones`.
    """
    # The reshape keeps two columns even for a skeleton without bones.
    ends, starts = np.array(skeleton.bones, np.intp).reshape(-1, 2).T
    detected_TB = detected_TJ[:, ends] & detected_TJ[:, starts]
    lengths = np.sqrt(((x_TJC[:, ends] - x_TJC[:, starts]) ** 2).sum(-1))[detected_TB]
    mean_length = lengths.mean() if len(lengths) else np.float32(0)
    if mean_length == 0:
        raise ClipError("no bone has a length; set `features.scale: none`", "no_bones")
    return mean_length
