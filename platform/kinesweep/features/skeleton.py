"""Skeleton features: one vector of joint coordinates per frame, centered on the root.

The points of one person come in, and the stream `pose` goes out: float32 (T, J·C) with the names of
its points, from which an encoder derives bones. Bones are not a stream of their own, because an
encoder can compute them by one subtraction. With `features.reference` there is a second stream,
`reference`: the motion that the clip is compared with, normalized by its own root and bones and
aligned to the frames of the clip (`alignment`). The alignment compares joints relative to the root,
scaled to a mean bone length of 1, independent of `centre` and `scale` of the streams. Undetected
points are 0; an undetected root keeps its last known position. MediaPipe's world landmarks repeat
the body in meters relative to the hips; they share no skeleton with the other points and are
dropped. 163 boxing clips take 40 ms, including reading. For sign language use `pose` features,
because normalization by the shoulders works better there.

Shapes: T frames, J points, C coordinates, D = J·C.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.alignment import AlignmentConfig
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.skeleton.skeleton import ROOT, Skeleton, find_skeleton
from kinesweep.features.alignment import (
    Alignment,
    apply_alignment,
    check_embedder_normalization,
    check_embedder_points,
    compute_alignment,
    compute_alignment_fingerprint,
)
from kinesweep.features.contract import Features
from kinesweep.sources.base import SkeletonMotion

_WORLD_COMPONENT = "POSE_WORLD_LANDMARKS"
# Increase this when the values for an unchanged configuration change.
CODE_VERSION = 1
# Relative difference up to which frame rates count as equal, so that 29.97 equals 30.
_SAME_RATE = 0.01


@dataclass(frozen=True)
class SkeletonFeatures:
    """A feature step that computes the `pose` stream and optionally a `reference` stream.

    Attributes:
        config: Centering, scaling and stride, and the alignment of the reference.
    """

    config: SkeletonFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Name of the clip's stream, followed by that of its reference if there is one."""
        return ("pose",) if self.config.reference is None else ("pose", "reference")

    @property
    def fingerprint(self) -> str:
        """Hash of the configuration, the embedder if there is one, and the version of this code.

        Raises:
            CheckpointError: If the embedder's folder does not contain an embedder.
            InputError: If the embedder was trained on frames with another normalization.
        """
        parts: dict[str, Any] = {
            "config": self.config.model_dump(mode="json", exclude={"reference"}),
            "code": CODE_VERSION,
        }
        # Without a reference the key is absent, so fingerprints do not depend on alignment code.
        if self.config.reference is not None:
            check_embedder_normalization(self.config)
            parts["reference"] = compute_alignment_fingerprint(self.config.reference)
        return compute_fingerprint(parts)

    def compute_features(self, media: SkeletonMotion) -> dict[str, Features]:
        """Compute the skeleton features of a motion, (ceil(T / stride), D).

        Raises:
            ClipError: If the motion cannot be used; reason `no_people` (no point is detected in
                any frame), `unknown_layout`, `no_root` or `no_bones` (no bone has a length). The
                prefix `reference_` marks problems of the reference; `reference_rate` means that
                `method: window` would compare different frame rates.
            CheckpointError: If the embedder's folder does not contain an embedder.
            InputError: If the embedder cannot process such frames.
        """
        motion = self._normalize_motion(media.pose)
        rate_hz = media.pose.fps / self.config.stride
        clip = motion.to_features(rate_hz)
        if self.config.reference is None:
            return {"pose": clip}
        # A clip without a reference is compared with itself, that is, with difference 0.
        if media.reference is None:
            return {"pose": clip, "reference": clip}
        _check_frame_rates(self.config.reference, media.pose.fps, media.reference.fps)
        aligned = self._align_reference(self.config.reference, media.pose, media.reference)
        return {"pose": clip, "reference": aligned.to_features(rate_hz)}

    def estimate_shapes(self, media: SkeletonMotion) -> dict[str, tuple[int, int]]:
        """Estimate stream name → kept frames and coordinates per frame; the result is exact."""
        frames, _, _, coordinates = media.pose.points_TPJC.shape
        points = _select_non_world_points(media.pose.layout)[1].num_points
        return dict.fromkeys(self.streams, (-(-frames // self.config.stride), points * coordinates))

    def _align_reference(
        self, config: AlignmentConfig, clip: PoseSequence, motion: PoseSequence
    ) -> "_NormalizedMotion":
        """Normalize a reference motion and align it to the frames of the clip.

        Raises:
            ClipError, CheckpointError, InputError: See `compute_features`.
        """
        step = self
        if config.on == "joints":
            # Position and body size must not influence which frames match, so the matching uses
            # its own normalization; the values of the streams keep the configured one.
            settings = {"kind": "skeleton", "centre": "each", "scale": "bone"}
            matching_settings = {**settings, "stride": self.config.stride}
            step = SkeletonFeatures(SkeletonFeaturesConfig.model_validate(matching_settings))
        clip_motion = step._normalize_motion(clip)
        check_embedder_points(config, clip_motion.skeleton.layout)
        x_TD = clip_motion.to_features(1.0).x_TD  # the rate does not matter for matching
        # Only errors of the reference get the prefix; those of the clip were raised above.
        try:
            reference = self._normalize_motion(motion)
            alignment = compute_alignment(
                x_TD, step._normalize_motion(motion).to_features(1.0).x_TD, config
            )
            return reference.align_to_clip(alignment, from_root=self.config.centre == "first")
        except ClipError as error:
            text, reason = f"its reference: {error}", f"reference_{error.reason}"
            raise ClipError(text, reason) from None

    def _normalize_motion(self, pose: PoseSequence) -> "_NormalizedMotion":
        """Center and scale a motion and keep every `stride`-th frame.

        Raises:
            ClipError: If the motion cannot be used; see `compute_features`.
        """
        point_indices, layout = _select_non_world_points(pose.layout)
        # Indexing by an array copies, so the in-place arithmetic does not change the media.
        x_TJC, detected_TJ = (
            pose.points_TPJC[:, 0, point_indices],
            pose.confidence_TPJ[:, 0, point_indices] > 0,
        )
        if not detected_TJ.any():
            raise ClipError("no point of a person is detected in any frame", "no_people")
        skeleton = find_skeleton(layout)
        if skeleton is None:
            components = ", ".join(
                f"{name} ({len(points)})" for name, points in pose.layout.components
            )
            text = f"the file has the point components {components}: they form no known skeleton"
            raise ClipError(text, "unknown_layout")
        if self.config.centre != "none":
            x_TJC -= _find_root_positions(
                x_TJC, detected_TJ, skeleton, self.config.centre == "each"
            )
        if self.config.scale == "bone":
            x_TJC /= _compute_mean_bone_length(x_TJC, detected_TJ, skeleton)
        # Last, because centering would move the zeros of undetected points.
        x_TJC[~detected_TJ] = 0
        stride = self.config.stride
        return _NormalizedMotion(x_TJC[::stride], detected_TJ[::stride], skeleton)


@dataclass(frozen=True)
class _NormalizedMotion:
    """A centered and scaled motion: points, mask of the detected ones, and their skeleton."""

    x_TJC: NDArray[np.float32]
    detected_TJ: NDArray[np.bool_]
    skeleton: Skeleton

    def to_features(self, rate_hz: float) -> Features:
        """Convert to features: the points flattened into one vector per frame, (T, D)."""
        x_TD = self.x_TJC.reshape(len(self.x_TJC), -1)
        return Features(x_TD, rate_hz, self.skeleton.layout)

    def align_to_clip(self, alignment: Alignment, from_root: bool) -> "_NormalizedMotion":
        """Align this motion to the frames of a clip; return the aligned motion.

        Args:
            alignment: Result of `compute_alignment`.
            from_root: Whether to center on the root of the first remaining frame. Alignment may
                drop the frame on which the motion was centered before.

        Raises:
            ClipError: If no remaining frame shows the root; reason `no_root`.
        """
        frames, points, coordinates = self.x_TJC.shape
        # The mask is needed per value: a weighted mean over frames excludes undetected points.
        detected_RD = self.detected_TJ.repeat(coordinates, axis=1)
        x_TD, detected_TD = apply_alignment(alignment, self.x_TJC.reshape(frames, -1), detected_RD)
        x_TJC = x_TD.reshape(len(x_TD), points, coordinates)
        detected_TJ = detected_TD[
            :, ::coordinates
        ]  # all coordinates of a point share one mask value
        if from_root:
            x_TJC -= _find_root_positions(x_TJC, detected_TJ, self.skeleton, per_frame=False)
            x_TJC[~detected_TJ] = 0
        return _NormalizedMotion(x_TJC, detected_TJ, self.skeleton)


def _check_frame_rates(config: AlignmentConfig, fps: float, reference_fps: float) -> None:
    """Check that clip and reference have the same frame rate if frames are compared one by one.

    Raises:
        ClipError: If the rates differ and the method is `window`; reason `reference_rate`.
    """
    if config.method == "window" and abs(fps / reference_fps - 1) > _SAME_RATE:
        raise ClipError(
            f"the clip has {fps:g} frames per second, its reference {reference_fps:g}; `method:"
            " window`"
            " compares frame by frame: set `features.reference.method: dtw`",
            "reference_rate",
        )


@lru_cache(maxsize=64)
def _select_non_world_points(layout: PointLayout) -> tuple[NDArray[np.intp], PointLayout]:
    """Select all points except MediaPipe's world landmarks; return their indices and layout."""
    components = [part for part, points in layout.components for _ in points]
    indices = [place for place, part in enumerate(components) if part != _WORLD_COMPONENT]
    remaining = tuple(part for part in layout.components if part[0] != _WORLD_COMPONENT)
    return np.array(indices, np.intp), PointLayout(remaining)


def _find_root_positions(
    x_TJC: NDArray[np.float32], detected_TJ: NDArray[np.bool_], skeleton: Skeleton, per_frame: bool
) -> NDArray[np.float32]:
    """Find the position of the skeleton's root in the first frame that shows it or in each frame.

    Returns:
        (1, 1, C), the position in the first frame that shows it; with `per_frame`, (T, 1, C), the
        position in every frame.

    Raises:
        ClipError: If no frame shows the root; reason `no_root`.
    """
    # A skeleton may have several roots; the first one is the center.
    root = skeleton.parents.index(ROOT)
    root_frames = np.flatnonzero(detected_TJ[:, root])
    if not len(root_frames):
        name = [point for _, points in skeleton.layout.components for point in points][root]
        text = f"no frame shows the root `{name}`; set `features.centre: none`"
        raise ClipError(text, "no_root")
    if not per_frame:
        return x_TJC[root_frames[:1], root][:, None]
    # Each frame takes the last frame so far that shows the root; earlier frames take the first one.
    last = np.maximum(np.searchsorted(root_frames, np.arange(len(x_TJC)), side="right") - 1, 0)
    return x_TJC[root_frames[last], root][:, None]


def _compute_mean_bone_length(
    x_TJC: NDArray[np.float32], detected_TJ: NDArray[np.bool_], skeleton: Skeleton
) -> np.float32:
    """Compute the mean length over all bones and frames in which both ends are detected.

    Raises:
        ClipError: If there is none or the mean is 0; reason `no_bones`.
    """
    # The reshape keeps two columns even for a skeleton without bones.
    ends, starts = np.array(skeleton.bones, np.intp).reshape(-1, 2).T
    both_TB = detected_TJ[:, ends] & detected_TJ[:, starts]
    lengths = np.sqrt(((x_TJC[:, ends] - x_TJC[:, starts]) ** 2).sum(-1))[both_TB]
    mean = lengths.mean() if len(lengths) else np.float32(0)
    if mean == 0:
        raise ClipError("no bone has a length; set `features.scale: none`", "no_bones")
    return mean
