"""A skeleton as one vector a frame: its points' coordinates, placed by the root and scaled by bone.

One person's points come in, the stream `pose` goes out: float32 (T, J·C) with the names of its
points, so that an encoder finds the bones. Bones are no stream of their own: they are one
subtraction, and an encoder that wants them makes them. With `features.reference` there is a stream
`reference` too: the motion that the clip is compared with, normalised by its own root and bones,
brought to as many frames (`alignment`). What is aligned are joints about their root with bones 1
long, whatever the streams' place and scale. A point that was not found is 0; a root that was not
found in a frame is where it was last. MediaPipe's world landmarks, the body once more but in metres
about its hips, fit into no skeleton with the others and are left out. 163 clips of boxing take 40
ms, reading included. Not for signing, where the shoulders are the better measure (`pose`).

Shapes: T frames, J points, C coordinates, D = J·C.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.pose import PointLayout, PoseSequence
from kinesweep.core.recipe.alignment import AlignmentConfig
from kinesweep.core.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.skeleton import ROOT, Skeleton, skeleton_of
from kinesweep.features.alignment import (
    Match,
    alignment_fingerprint,
    carry,
    check_embedder,
    check_points,
    match,
)
from kinesweep.features.contract import Features
from kinesweep.sources.contract import Motion

_WORLD = "POSE_WORLD_LANDMARKS"
CODE_VERSION = 1
"""Raised when the numbers of unchanged configurations change."""
_SAME_RATE = 0.01
"""29.97 frames a second are 30."""


@dataclass(frozen=True)
class SkeletonFeatures:
    """The `pose` stream of a motion, and that of its reference where it is asked for.

    Attributes:
        config: where it is put, and how large; how the reference is matched.
    """

    config: SkeletonFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """The clip's, and then its reference's."""
        return ("pose",) if self.config.reference is None else ("pose", "reference")

    @property
    def fingerprint(self) -> str:
        """Names the configuration, the embedder if there is one, and the version of this code.

        Raises:
            CheckpointError: the embedder's folder is no embedder.
            InputError: it was trained on frames that were normalised otherwise.
        """
        parts: dict[str, Any] = {
            "config": self.config.model_dump(mode="json", exclude={"reference"}),
            "code": CODE_VERSION,
        }
        if self.config.reference is not None:
            check_embedder(self.config)
            parts["reference"] = alignment_fingerprint(self.config.reference)
        return fingerprint(parts)

    def compute(self, media: Motion) -> dict[str, Features]:
        """Features of a motion, (ceil(T / stride), D).

        Raises:
            ClipError: reason `no_people` (no point is found in any frame), `unknown_layout`,
                `no_root` or `no_bones` (no bone has a length); `reference_` and one of these where
                it is the reference's; `reference_rate` (a window of another rate).
            CheckpointError: the embedder's folder is no embedder.
            InputError: the embedder takes no such frames.
        """
        pose = self._placed(media.pose)
        rate_hz = media.pose.fps / self.config.stride
        clip = pose.features(rate_hz)
        if self.config.reference is None:
            return {"pose": clip}
        if media.reference is None:
            return {"pose": clip, "reference": clip}
        _check_rates(self.config.reference, media.pose.fps, media.reference.fps)
        aligned = self._aligned(self.config.reference, media.pose, media.reference)
        return {"pose": clip, "reference": aligned.features(rate_hz)}

    def shape(self, media: Motion) -> dict[str, tuple[int, int]]:
        """Frames that are kept, and coordinates of all points."""
        frames, _, _, coordinates = media.pose.points_TPJC.shape
        points = _without_world(media.pose.layout)[1].num_points
        return dict.fromkeys(self.streams, (-(-frames // self.config.stride), points * coordinates))

    def _aligned(
        self, config: AlignmentConfig, clip: PoseSequence, motion: PoseSequence
    ) -> "_Placed":
        """A reference, frame for frame as the clip, and placed as if it began there.

        Raises:
            ClipError, CheckpointError, InputError: see `compute`.
        """
        step = self
        if config.on == "joints":
            # Where somebody stands, and how tall, belongs to no moment of a motion.
            plain = {"kind": "skeleton", "centre": "each", "scale": "bone"}
            compared = {**plain, "stride": self.config.stride}
            step = SkeletonFeatures(SkeletonFeaturesConfig.model_validate(compared))
        placed = step._placed(clip)
        check_points(config, placed.skeleton.layout)
        x_TD = placed.features(1.0).x_TD
        try:
            reference = self._placed(motion)
            matched = match(x_TD, step._placed(motion).features(1.0).x_TD, config)
            return reference.at(matched, from_root=self.config.centre == "first")
        except ClipError as error:
            text, reason = f"its reference: {error}", f"reference_{error.reason}"
            raise ClipError(text, reason) from None

    def _placed(self, pose: PoseSequence) -> "_Placed":
        """One motion, placed and scaled, every n-th frame of it.

        Raises:
            ClipError: see `compute`.
        """
        kept, layout = _without_world(pose.layout)
        x_TJC, found_TJ = pose.points_TPJC[:, 0, kept], pose.confidence_TPJ[:, 0, kept] > 0
        if not found_TJ.any():
            raise ClipError("no point of a person is found in any frame", "no_people")
        skeleton = skeleton_of(layout)
        if skeleton is None:
            held = ", ".join(f"{name} ({len(points)})" for name, points in pose.layout.components)
            text = f"the file's points are {held}: no skeleton of these is known"
            raise ClipError(text, "unknown_layout")
        if self.config.centre != "none":
            x_TJC -= _root(x_TJC, found_TJ, skeleton, self.config.centre == "each")
        if self.config.scale == "bone":
            x_TJC /= _bone(x_TJC, found_TJ, skeleton)
        x_TJC[~found_TJ] = 0
        stride = self.config.stride
        return _Placed(x_TJC[::stride], found_TJ[::stride], skeleton)


@dataclass(frozen=True)
class _Placed:
    """Points of a motion, which of them were found, and whose they are."""

    x_TJC: NDArray[np.float32]
    found_TJ: NDArray[np.bool_]
    skeleton: Skeleton

    def features(self, rate_hz: float) -> Features:
        """A vector a frame."""
        x_TD = self.x_TJC.reshape(len(self.x_TJC), -1)
        return Features(x_TD, rate_hz, self.skeleton.layout)

    def at(self, matched: Match, from_root: bool) -> "_Placed":
        """The same at a clip's frames; `from_root`: about the root of the first that is left.

        Raises:
            ClipError: reason `no_root`.
        """
        frames, points, coordinates = self.x_TJC.shape
        found_RD = self.found_TJ.repeat(coordinates, axis=1)
        x_TD, seen_TD = carry(matched, self.x_TJC.reshape(frames, -1), found_RD)
        x_TJC = x_TD.reshape(len(x_TD), points, coordinates)
        found_TJ = seen_TD[:, ::coordinates]
        if from_root:
            x_TJC -= _root(x_TJC, found_TJ, self.skeleton, each=False)
            x_TJC[~found_TJ] = 0
        return _Placed(x_TJC, found_TJ, self.skeleton)


def _check_rates(config: AlignmentConfig, fps: float, other: float) -> None:
    """Refuses a window of another rate.

    Raises:
        ClipError: reason `reference_rate`.
    """
    if config.method == "window" and abs(fps / other - 1) > _SAME_RATE:
        raise ClipError(
            f"the clip has {fps:g} frames a second, its reference {other:g}; a window compares"
            " frame by frame: set `features.reference.method: dtw`",
            "reference_rate",
        )


@lru_cache(maxsize=64)
def _without_world(layout: PointLayout) -> tuple[NDArray[np.intp], PointLayout]:
    """Places of the points that a skeleton has, and their names."""
    components = [part for part, points in layout.components for _ in points]
    kept = [place for place, part in enumerate(components) if part != _WORLD]
    rest = tuple(part for part in layout.components if part[0] != _WORLD)
    return np.array(kept, np.intp), PointLayout(rest)


def _root(
    x_TJC: NDArray[np.float32], found_TJ: NDArray[np.bool_], skeleton: Skeleton, each: bool
) -> NDArray[np.float32]:
    """Where the first root is: (1, 1, C) in the first frame that shows it, or (T, 1, C) in each.

    Raises:
        ClipError: reason `no_root`.
    """
    root = skeleton.parents.index(ROOT)
    shown = np.flatnonzero(found_TJ[:, root])
    if not len(shown):
        name = [point for _, points in skeleton.layout.components for point in points][root]
        text = f"the root `{name}` is found in no frame; set `features.centre: none`"
        raise ClipError(text, "no_root")
    if not each:
        return x_TJC[shown[:1], root][:, None]
    # Of each frame the last one that shows it; before the first, the first.
    last = np.maximum(np.searchsorted(shown, np.arange(len(x_TJC)), side="right") - 1, 0)
    return x_TJC[shown[last], root][:, None]


def _bone(
    x_TJC: NDArray[np.float32], found_TJ: NDArray[np.bool_], skeleton: Skeleton
) -> np.float32:
    """Mean length over the bones and frames of which both ends are found.

    Raises:
        ClipError: reason `no_bones`.
    """
    ends, starts = np.array(skeleton.bones, np.intp).reshape(-1, 2).T
    both_TB = found_TJ[:, ends] & found_TJ[:, starts]
    lengths = np.sqrt(((x_TJC[:, ends] - x_TJC[:, starts]) ** 2).sum(-1))[both_TB]
    mean = lengths.mean() if len(lengths) else np.float32(0)
    if mean == 0:
        raise ClipError("no bone has a length; set `features.scale: none`", "no_bones")
    return mean
