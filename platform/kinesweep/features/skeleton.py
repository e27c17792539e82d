"""Skeleton features: one vector of joint coordinates per frame, centered on the root.

The points of one person come in, and the stream `pose` goes out: float32 (T, J·C) with the names of
its points, from which an encoder derives bones. Bones are not a stream of their own, because an
encoder can compute them by one subtraction. With `features.reference` there is a second stream,
`reference`: the reference motion that the clip is compared with, normalized by its own root and
bones and aligned to the frames of the clip (`features.alignment`). The alignment compares joints
relative to the root, scaled to a mean bone length of 1, independent of `centre` and `scale` of the
streams. Undetected points are 0; an undetected root keeps its last known position. MediaPipe's
world landmarks repeat the body in meters relative to the hips; they share no skeleton with the
other points and are dropped. 163 boxing clips take 40 ms, including reading. For sign language use
`pose` features, because normalization by the shoulders works better there.

Shapes: T frames of a clip, J points, C coordinates, D = J·C.
"""

from dataclasses import dataclass
from typing import Any

from kinesweep.config.recipe.alignment import POSITIONAL_METHODS, AlignmentConfig
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.features.alignment import (
    check_embedder_normalization,
    check_embedder_points,
    compute_alignment,
    compute_alignment_fingerprint,
)
from kinesweep.features.contract import Features
from kinesweep.features.points import compute_rate_hz, count_frames, describe_settings
from kinesweep.features.skeleton_normalization import (
    NormalizedMotion,
    normalize_motion,
    select_non_world_points,
)
from kinesweep.sources.base import SkeletonMotion

# Increase this when the values for an unchanged configuration change, which also depend on
# `skeleton_normalization`.
CODE_VERSION = 1
# Relative difference up to which frame rates count as equal, so that 29.97 equals 30.
_SAME_RATE = 0.01


@dataclass(frozen=True)
class SkeletonFeatures:
    """A feature step that computes the stream `pose` and optionally the stream `reference`.

    Attributes:
        config: Centering, scaling, stride and settings of points, and the alignment of the
            reference motion.
    """

    config: SkeletonFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the name of the clip's stream, and that of its reference motion if configured."""
        return ("pose",) if self.config.reference is None else ("pose", "reference")

    @property
    def fingerprint(self) -> str:
        """Return a hash of the configuration, the embedder if any, and the version of this code.

        Raises:
            CheckpointError: If the embedder's folder does not contain an embedder or it is damaged.
            InputError: If the embedder was trained on frames with another normalization.
        """
        settings = describe_settings(self.config)
        del settings["reference"]
        content: dict[str, Any] = {"config": settings, "code": CODE_VERSION}
        # Without a reference motion the key is absent, so the fingerprint does not depend on the
        # code of the alignment.
        if self.config.reference is not None:
            check_embedder_normalization(self.config)
            content["reference"] = compute_alignment_fingerprint(self.config.reference)
        return compute_fingerprint(content)

    def compute_features(self, media: SkeletonMotion) -> dict[str, Features]:
        """Compute the features of a clip and its reference motion: stream → (ceil(T / stride), D).

        A clip without a reference motion is compared with itself.

        Raises:
            ClipError: If a motion cannot be used; reason `no_people` (no point is detected in any
                frame), `unknown_layout`, `no_root` (no frame shows the root) or `no_bones` (no bone
                has a length). The prefix `reference_` marks problems of the reference motion;
                `reference_rate` means that `method: window` or `given` would compare different
                frame rates, `reference_length` that `given` would compare different lengths.
            CheckpointError: If the embedder's folder does not contain an embedder or it is damaged.
            InputError: If the embedder was trained on other points, cannot process such frames or
                returns non-finite values.
        """
        rate_hz = compute_rate_hz(media.pose.fps, self.config)
        with_mask = self.config.missing == "mask"
        clip_features = normalize_motion(media.pose, self.config).to_features(rate_hz, with_mask)
        if self.config.reference is None:
            return {"pose": clip_features}
        if self.config.reference.method == "first_frame":
            # The clip is compared with its own beginning, so a reference motion is not read.
            media = SkeletonMotion(media.pose, media.pose)
        # The difference of equal features is 0.
        if media.reference_pose is None:
            return {"pose": clip_features, "reference": clip_features}
        if self.config.fps is None:  # otherwise both are resampled to one rate
            _check_frame_rates(self.config.reference, media.pose.fps, media.reference_pose.fps)
        aligned = self._align_reference(self.config.reference, media.pose, media.reference_pose)
        return {"pose": clip_features, "reference": aligned.to_features(rate_hz, with_mask)}

    def estimate_shapes(self, media: SkeletonMotion) -> dict[str, tuple[int, int]]:
        """Compute the exact shape of each stream: number of kept frames and values per frame."""
        num_frames, _, _, num_coordinates = media.pose.points_TPJC.shape
        _, layout = select_non_world_points(media.pose.layout)
        values_per_point = num_coordinates + (self.config.missing == "mask")
        num_kept = count_frames(num_frames, media.pose.fps, self.config)
        shape = num_kept, layout.num_points * values_per_point
        return dict.fromkeys(self.streams, shape)

    def _align_reference(
        self, config: AlignmentConfig, clip_pose: PoseSequence, reference_pose: PoseSequence
    ) -> NormalizedMotion:
        """Normalize a reference motion and align it to the kept frames of a clip.

        Args:
            config: Alignment config.
            clip_pose: Poses of the clip.
            reference_pose: Poses of the reference motion.

        Raises:
            ClipError, CheckpointError, InputError: See `compute_features`.
        """
        matching_config = self.config
        if config.on == "joints" and config.method not in POSITIONAL_METHODS:
            # Position and body size must not influence which frames match, so the matching uses
            # its own normalization; the values of the streams keep the configured one.
            matching_config = self.config.model_copy(
                update={"centre": "each", "scale": "bone", "reference": None}
            )
        clip_motion = normalize_motion(clip_pose, matching_config)
        check_embedder_points(config, clip_motion.skeleton.layout)
        # Only errors of the reference motion get the prefix; those of the clip were raised above.
        try:
            reference_motion = normalize_motion(reference_pose, self.config)
            matching_motion = normalize_motion(reference_pose, matching_config)
            alignment = compute_alignment(clip_motion.flatten(), matching_motion.flatten(), config)
            return reference_motion.align_to_clip(
                alignment, from_root=self.config.centre == "first"
            )
        except ClipError as error:
            text, reason = f"its reference: {error}", f"reference_{error.reason}"
            raise ClipError(text, reason) from None


def _check_frame_rates(config: AlignmentConfig, fps: float, reference_fps: float) -> None:
    """Check that a clip and its reference motion have equal frame rates where they must.

    `window` and `given` compare frame by frame; with other methods the rates may differ. Rates that
    differ by less than 1 % count as equal.

    Raises:
        ClipError: If the rates must be equal and differ; reason `reference_rate`.
    """
    if config.method in ("window", "given") and abs(fps / reference_fps - 1) > _SAME_RATE:
        raise ClipError(
            f"the clip has {fps:g} frames per second, its reference {reference_fps:g}; `method:"
            f" {config.method}` compares frame by frame: set"
            " `features.reference.method: dtw`",
            "reference_rate",
        )
