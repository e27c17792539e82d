"""Assembly of a pose from the people of all frames.

Points of missing people are 0 with confidence 0. A pose that would consist almost entirely of
missing people is refused, or reduced to the people seen most, before memory is allocated.

Shapes: T frames, P people, J points; each point has x, y and a confidence.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pose_format import Pose
from pose_format.numpy.pose_body import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

from kinesweep.features.estimators.external_outputs.detections import Detection, count_points
from kinesweep.features.estimators.external_outputs.video_properties import VideoProperties

# An array may always have this size, and beyond it 4 times that of the people in the output.
MAX_SPARSE_BYTES = 128 * 2**20
MAX_SPARSITY = 4
# The format stores the number of people in 16 bits.
MAX_PEOPLE = 2**16 - 1

Frames = Mapping[int, Sequence[Detection]]


def assemble_pose(
    frames: Frames,
    indices: Mapping[int, Sequence[int]],
    components: Sequence[PoseHeaderComponent],
    video: VideoProperties,
) -> tuple[Pose, list[str]]:
    """Assemble a pose, and return it with notes for the user.

    Args:
        frames: Frame index from 0 → people.
        indices: Frame index → index of each of its people.
        components: Point components of the header.
        video: Properties of the video.

    Raises:
        ValueError: If there are no people, they do not have the points of the header, or the pose
            would be almost empty.
    """
    num_points = count_points(frames)
    if num_points != sum(len(component.points) for component in components):
        raise ValueError(f"people have {num_points} points, but the layout has others")
    num_frames = max(frames) + 1
    places, notes = _choose_people(indices, num_frames, num_points)
    data_TPJ3 = np.zeros((num_frames, len(places), num_points, 3), np.float32)
    for frame, people in frames.items():
        for index, person in zip(indices[frame], people, strict=True):
            if index in places:
                data_TPJ3[frame, places[index]] = person.points_J3
    header = PoseHeader(0.2, PoseHeaderDimensions(video.width, video.height, 0), list(components))
    return Pose(header, NumPyPoseBody(video.fps, data_TPJ3[..., :2], data_TPJ3[..., 2])), notes


def _choose_people(
    indices: Mapping[int, Sequence[int]], num_frames: int, num_points: int
) -> tuple[dict[int, int], list[str]]:
    """Choose the people of the pose: index of a person → place in the pose, and notes.

    All are chosen unless the array would be too large; then those who are seen most.

    Raises:
        ValueError: If not even one person fits.
    """
    counts = Counter(index for row in indices.values() for index in row)
    person_bytes = num_frames * num_points * 12  # three float32
    allowed = max(MAX_SPARSE_BYTES, MAX_SPARSITY * counts.total() * num_points * 12)
    if person_bytes > allowed:
        raise ValueError(
            f"the pose would have {num_frames} frames, but people were detected in"
            f" {len(indices)} only; check the frame numbers"
        )
    num_places = min(allowed // person_bytes, MAX_PEOPLE)
    chosen = sorted(index for index, _ in counts.most_common(num_places))
    notes = []
    if left_out := len(counts) - len(chosen):
        notes.append(
            f"{left_out} of {len(counts)} people, those seen in the fewest frames, were left out,"
            " because the pose would be almost empty."
        )
    return {index: place for place, index in enumerate(chosen)}, notes
