"""What arrays of motions do not state themselves: skeleton, frame rate and the third value.

Whether the third of three values per point is a depth or a confidence cannot be seen: both may lie
between 0 and 1. The recipe states it, and it is never guessed.

Shapes: T frames, P people, J points, C coordinates.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.skeletons import SkeletonsConfig, ThirdCoordinate
from kinesweep.config.recipe.sources.declared_skeletons import DeclaredSkeletonConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.point_graph import orient_bones
from kinesweep.core.skeleton.skeleton import SKELETONS, Skeleton, build_point_skeleton


@dataclass(frozen=True)
class ArrayMeaning:
    """What arrays of motions do not state themselves.

    Attributes:
        skeleton: Skeleton of the points.
        fps: Frame rate in frames per second.
        third: Meaning of the third of three values per point.
        person: Index of the person used from a `.pose` file.
    """

    skeleton: Skeleton
    fps: float
    third: ThirdCoordinate = "z"
    person: int = 0

    @classmethod
    def from_config(cls, config: SkeletonsConfig) -> "ArrayMeaning":
        """Create the meaning that a corpus states in its recipe."""
        skeleton = build_skeleton(config.skeleton)
        return cls(skeleton, config.fps, config.third, config.person)

    def describe(self) -> dict[str, Any]:
        """Describe the meaning as plain values, for the fingerprint of a store."""
        layout = self.skeleton.layout
        # A name stands for its points; a declared skeleton is described by all that it declares.
        is_named = SKELETONS.get(self.skeleton.name) == self.skeleton
        skeleton = self.skeleton.name if is_named else layout.to_json()
        values: dict[str, Any] = {"fps": self.fps, "skeleton": skeleton}
        # Left out with their defaults, so that fingerprints of earlier stores stay valid.
        values |= {} if self.third == "z" else {"third": self.third}
        return values | ({"person": self.person} if self.person else {})


def build_skeleton(config: str | DeclaredSkeletonConfig) -> Skeleton:
    """Build the skeleton that `source.skeleton` names or declares.

    Args:
        config: Name of a skeleton, or a declared one.
    """
    if isinstance(config, str):
        return SKELETONS[config]
    return build_point_skeleton(
        config.name,
        config.points,
        orient_bones(len(config.points), config.bone_indices, config.root_index),
        config.left_right_indices,
        config.root_index,
    )


def split_third_value(
    x_TPJC: NDArray[np.float32], third: ThirdCoordinate, path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Split the values of points into coordinates and confidences, (T, P, J).

    Args:
        x_TPJC: Two or three values per point.
        third: Meaning of the third value; without it every confidence is 1.
        path: Path of the file, for error messages.

    Raises:
        ClipError: With reason `no_confidence` if there are only two values, or `bad_confidence` if
            a third value is negative or not a number.
    """
    num_values = x_TPJC.shape[3]
    if third == "confidence":
        if num_values != 3:
            text = f"`{path}` has {num_values} values per point, so the third cannot be confidence"
            raise ClipError(f"{text}; see `source.third`", "no_confidence")
        confidence_TPJ = x_TPJC[..., 2]
        # Written so that NaN is refused, too.
        if not (np.isfinite(confidence_TPJ) & (confidence_TPJ >= 0)).all():
            text = f"`{path}` has third values that are negative or not numbers, which no"
            raise ClipError(f"{text} confidence is; see `source.third`", "bad_confidence")
        return np.ascontiguousarray(x_TPJC[..., :2]), np.ascontiguousarray(confidence_TPJ)
    ones_TPJ = np.ones(x_TPJC.shape[:3], np.float32)
    return (x_TPJC[..., :2].copy() if third == "none" else x_TPJC), ones_TPJ
