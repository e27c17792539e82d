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
from kinesweep.core.hashing import fingerprint
from kinesweep.core.pose import PointLayout, PoseSequence
from kinesweep.core.skeleton.skeleton import ROOT, Skeleton, skeleton_of
from kinesweep.features.alignment import (
    Match,
    alignment_fingerprint,
    apply_alignment,
    check_embedder,
    check_points,
    match,
)
from kinesweep.features.contract import Features
from kinesweep.sources.base import Motion

_WORLD = "POSE_WORLD_LANDMARKS"
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
            check_embedder(self.config)
            parts["reference"] = alignment_fingerprint(self.config.reference)
        return fingerprint(parts)

    def compute(self, media: Motion) -> dict[str, Features]:
        """Compute the features of a motion, (ceil(T / stride), D).

        Raises:
            ClipError: If the motion cannot be used; reason `no_people` (no point is detected in
                any frame), `unknown_layout`, `no_root` or `no_bones` (no bone has a length). The
                prefix `reference_` marks problems of the reference; `reference_rate` means that
                `method: window` would compare different frame rates.
            CheckpointError: If the embedder's folder does not contain an embedder.
            InputError: If the embedder cannot process such frames.
        """
        pose = self._placed(media.pose)
        rate_hz = media.pose.fps / self.config.stride
        clip = pose.features(rate_hz)
        if self.config.reference is None:
            return {"pose": clip}
        # A clip without a reference is compared with itself, that is, with difference 0.
        if media.reference is None:
            return {"pose": clip, "reference": clip}
        _check_rates(self.config.reference, media.pose.fps, media.reference.fps)
        aligned = self._aligned(self.config.reference, media.pose, media.reference)
        return {"pose": clip, "reference": aligned.features(rate_hz)}

    def shape(self, media: Motion) -> dict[str, tuple[int, int]]:
        """Return stream name → number of kept frames and number of coordinates per frame."""
        frames, _, _, coordinates = media.pose.points_TPJC.shape
        points = _without_world(media.pose.layout)[1].num_points
        return dict.fromkeys(self.streams, (-(-frames // self.config.stride), points * coordinates))

    def _aligned(
        self, config: AlignmentConfig, clip: PoseSequence, motion: PoseSequence
    ) -> "_Placed":
        """Align a reference to the frames of the clip and place it.

        Raises:
            ClipError, CheckpointError, InputError: See `compute`.
        """
        step = self
        if config.on == "joints":
            # Position and body size must not influence which frames match, so the matching uses
            # its own normalization; the values of the streams keep the configured one.
            plain = {"kind": "skeleton", "centre": "each", "scale": "bone"}
            compared = {**plain, "stride": self.config.stride}
            step = SkeletonFeatures(SkeletonFeaturesConfig.model_validate(compared))
        placed = step._placed(clip)
        check_points(config, placed.skeleton.layout)
        x_TD = placed.features(1.0).x_TD  # the rate does not matter for matching
        # Only errors of the reference get the prefix; those of the clip were raised above.
        try:
            reference = self._placed(motion)
            matched = match(x_TD, step._placed(motion).features(1.0).x_TD, config)
            return reference.at(matched, from_root=self.config.centre == "first")
        except ClipError as error:
            text, reason = f"its reference: {error}", f"reference_{error.reason}"
            raise ClipError(text, reason) from None

    def _placed(self, pose: PoseSequence) -> "_Placed":
        """Center and scale a motion and keep every `stride`-th frame.

        Raises:
            ClipError: If the motion cannot be used; see `compute`.
        """
        kept, layout = _without_world(pose.layout)
        # Indexing by an array copies, so the in-place arithmetic does not change the media.
        x_TJC, found_TJ = pose.points_TPJC[:, 0, kept], pose.confidence_TPJ[:, 0, kept] > 0
        if not found_TJ.any():
            raise ClipError("no point of a person is detected in any frame", "no_people")
        skeleton = skeleton_of(layout)
        if skeleton is None:
            held = ", ".join(f"{name} ({len(points)})" for name, points in pose.layout.components)
            text = f"the file has the point components {held}: they form no known skeleton"
            raise ClipError(text, "unknown_layout")
        if self.config.centre != "none":
            x_TJC -= _root(x_TJC, found_TJ, skeleton, self.config.centre == "each")
        if self.config.scale == "bone":
            x_TJC /= _bone(x_TJC, found_TJ, skeleton)
        # Last, because centering would move the zeros of undetected points.
        x_TJC[~found_TJ] = 0
        stride = self.config.stride
        return _Placed(x_TJC[::stride], found_TJ[::stride], skeleton)


@dataclass(frozen=True)
class _Placed:
    """The points of a placed motion, a mask of the detected ones, and their skeleton."""

    x_TJC: NDArray[np.float32]
    found_TJ: NDArray[np.bool_]
    skeleton: Skeleton

    def features(self, rate_hz: float) -> Features:
        """Flatten the points into one vector per frame, (T, D)."""
        x_TD = self.x_TJC.reshape(len(self.x_TJC), -1)
        return Features(x_TD, rate_hz, self.skeleton.layout)

    def at(self, matched: Match, from_root: bool) -> "_Placed":
        """Return this motion at the frames of the clip that it was matched with.

        Args:
            matched: Result of `match`.
            from_root: Whether to center on the root of the first remaining frame. Alignment may
                drop the frame on which the motion was centered before.

        Raises:
            ClipError: If no remaining frame shows the root; reason `no_root`.
        """
        frames, points, coordinates = self.x_TJC.shape
        # The mask is needed per value: a weighted mean over frames excludes undetected points.
        found_RD = self.found_TJ.repeat(coordinates, axis=1)
        x_TD, seen_TD = apply_alignment(matched, self.x_TJC.reshape(frames, -1), found_RD)
        x_TJC = x_TD.reshape(len(x_TD), points, coordinates)
        found_TJ = seen_TD[:, ::coordinates]  # all coordinates of a point share one mask value
        if from_root:
            x_TJC -= _root(x_TJC, found_TJ, self.skeleton, each=False)
            x_TJC[~found_TJ] = 0
        return _Placed(x_TJC, found_TJ, self.skeleton)


def _check_rates(config: AlignmentConfig, fps: float, other: float) -> None:
    """Reject a reference with another frame rate if the frames are compared one by one.

    Raises:
        ClipError: If the rates differ and the method is `window`; reason `reference_rate`.
    """
    if config.method == "window" and abs(fps / other - 1) > _SAME_RATE:
        raise ClipError(
            f"the clip has {fps:g} frames per second, its reference {other:g}; `method: window`"
            " compares frame by frame: set `features.reference.method: dtw`",
            "reference_rate",
        )


@lru_cache(maxsize=64)
def _without_world(layout: PointLayout) -> tuple[NDArray[np.intp], PointLayout]:
    """Return the indices and the layout of all points except MediaPipe's world landmarks."""
    components = [part for part, points in layout.components for _ in points]
    kept = [place for place, part in enumerate(components) if part != _WORLD]
    rest = tuple(part for part in layout.components if part[0] != _WORLD)
    return np.array(kept, np.intp), PointLayout(rest)


def _root(
    x_TJC: NDArray[np.float32], found_TJ: NDArray[np.bool_], skeleton: Skeleton, each: bool
) -> NDArray[np.float32]:
    """Return the position of the root.

    Returns:
        (1, 1, C), the position in the first frame that shows it; with `each`, (T, 1, C), the
        position in every frame.

    Raises:
        ClipError: If no frame shows the root; reason `no_root`.
    """
    # A skeleton may have several roots; the first one is the center.
    root = skeleton.parents.index(ROOT)
    shown = np.flatnonzero(found_TJ[:, root])
    if not len(shown):
        name = [point for _, points in skeleton.layout.components for point in points][root]
        text = f"no frame shows the root `{name}`; set `features.centre: none`"
        raise ClipError(text, "no_root")
    if not each:
        return x_TJC[shown[:1], root][:, None]
    # Each frame takes the last frame so far that shows the root; earlier frames take the first one.
    last = np.maximum(np.searchsorted(shown, np.arange(len(x_TJC)), side="right") - 1, 0)
    return x_TJC[shown[last], root][:, None]


def _bone(
    x_TJC: NDArray[np.float32], found_TJ: NDArray[np.bool_], skeleton: Skeleton
) -> np.float32:
    """Return the mean length over all bones and frames in which both ends are detected.

    Raises:
        ClipError: If there is none or the mean is 0; reason `no_bones`.
    """
    # The reshape keeps two columns even for a skeleton without bones.
    ends, starts = np.array(skeleton.bones, np.intp).reshape(-1, 2).T
    both_TB = found_TJ[:, ends] & found_TJ[:, starts]
    lengths = np.sqrt(((x_TJC[:, ends] - x_TJC[:, starts]) ** 2).sum(-1))[both_TB]
    mean = lengths.mean() if len(lengths) else np.float32(0)
    if mean == 0:
        raise ClipError("no bone has a length; set `features.scale: none`", "no_bones")
    return mean
