"""Detections of people, as the readers of all estimators return them.

Shapes: J points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pose_format.pose_header import PoseHeaderComponent

SINGLE_IMAGE_NOTE = "The output is that of a single image, so the pose has one frame."


@dataclass(frozen=True)
class Detection:
    """One person in one frame.

    Attributes:
        points_J3: x, y and confidence of each point, (J, 3).
        track_id: Identity of the person within the clip, None if the estimator did not track.
    """

    points_J3: NDArray[np.float32]
    track_id: int | None = None


@dataclass(frozen=True)
class ClipDetections:
    """All people of a clip.

    Attributes:
        frames: Frame number in the output → people in that frame, which may be none.
        components: Point components of the header, J points in total.
        start_frame: Number that the first frame of the video has in the output.
        notes: Findings that the user should know, in full sentences.
    """

    frames: Mapping[int, Sequence[Detection]]
    components: Sequence[PoseHeaderComponent]
    start_frame: int
    notes: tuple[str, ...] = ()


def count_points(frames: Mapping[int, Sequence[Detection]]) -> int:
    """Return the number of points J that all people have.

    Raises:
        ValueError: If there are no people or they have different numbers of points.
    """
    counts = {len(person.points_J3) for people in frames.values() for person in people}
    if not counts:
        raise ValueError("no people were detected")
    if len(counts) > 1:
        raise ValueError(f"people have different numbers of points: {sorted(counts)}")
    return counts.pop()
