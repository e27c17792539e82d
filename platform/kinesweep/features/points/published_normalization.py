"""The normalization of a published keypoint set: anchors, one scale for a clip, limits and scores.

The rules are those of `core.skeleton.keypoint_sets`. The box around the points of some parts, over
all frames of a clip, gives the scale; each part is relative to the box or to its anchor point. A
part whose anchor was not found in a frame is missing in that frame, because its coordinates would
be relative to an undefined position.

Shapes: T frames, J points, C coordinates.
"""

from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.keypoint_sets import KeypointSet
from kinesweep.features.points import PreparedPoints


def normalize_as_published(
    points: PreparedPoints, keypoint_set: KeypointSet, frame_size: tuple[int, int] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Normalize the points of one clip as the publication of their keypoint set does.

    Args:
        points: Points of the set, in its order.
        keypoint_set: Rules of the normalization.
        frame_size: Width and height of the video; None if unknown.

    Returns:
        Values, (T, J, C) or with a score (T, J, C + 1), and the mask of the points that have a
        position, (T, J). The values of all others, and their scores, are undefined.

    Raises:
        ClipError: If the box has too few points or no extent (reason `no_scale`), or if the rules
            need the size of the video and it is unknown (reason `no_picture_size`).
    """
    x_TJC: NDArray[np.float32] = points.x_TJC[..., : keypoint_set.num_coordinates]
    if keypoint_set.in_frame_units:
        x_TJC = np.asarray(x_TJC / _get_frame_scale(frame_size, x_TJC.shape[2]), np.float32)
    # Without a threshold, filled points count too, whose confidence is 0.
    counts_TJ = (points.confidence_TJ > keypoint_set.threshold) | (keypoint_set.threshold == 0)
    known_TJ = points.known_TJ & counts_TJ
    bounds = list(accumulate((len(part.points) for part in keypoint_set.parts), initial=0))
    slices = [slice(first, end) for first, end in pairwise(bounds)]
    box_points = [slices[index] for index in keypoint_set.box_parts]
    lower_C, upper_C = _find_box(x_TJC, points.detected_TJ & counts_TJ, box_points, keypoint_set)
    side = (upper_C - lower_C).max()
    origin_C = lower_C if keypoint_set.origin == "corner" else (lower_C + upper_C) / 2
    values_TJC = np.empty_like(x_TJC)
    for part, columns in zip(keypoint_set.parts, slices, strict=True):
        center = np.asarray(origin_C, np.float32)
        if part.anchor is not None:
            anchor = columns.start + part.anchor
            # Its own confidence may be low, as in the publication, but it must have a position.
            known_TJ[:, columns] &= points.known_TJ[:, anchor, None]
            center = x_TJC[:, anchor, None]
        values_TJC[:, columns] = (x_TJC[:, columns] - center) * (part.extent / side)
    if keypoint_set.has_score:
        values_TJC = np.concatenate([values_TJC, points.confidence_TJ[..., None]], axis=2)
    if keypoint_set.limit is not None:
        values_TJC = values_TJC.clip(-keypoint_set.limit, keypoint_set.limit)
    return values_TJC.astype(np.float32), known_TJ


def _get_frame_scale(
    frame_size: tuple[int, int] | None, num_coordinates: int
) -> NDArray[np.float32]:
    """Return the divisor of each coordinate, (C,): width, height and, for a depth, 1.

    Args:
        frame_size: Width and height of the video in the unit of the points; None if unknown.
        num_coordinates: Number of coordinates C, 2 or 3.

    Raises:
        ClipError: If the size is unknown; reason `no_picture_size`.
    """
    if frame_size is None or not all(frame_size):
        raise ClipError(
            "the size of the video is unknown, in units of which this keypoint set measures;"
            " estimate the poses again, state `frame_size` in a stream, or set"
            " `features.normalize: shoulders`",
            "no_picture_size",
        )
    return np.array([*frame_size, 1.0][:num_coordinates], np.float32)


def _find_box(
    x_TJC: NDArray[np.float32],
    detected_TJ: NDArray[np.bool_],
    columns: list[slice],
    keypoint_set: KeypointSet,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Find the lower and the upper corner of the box around detected points, over all frames.

    Args:
        x_TJC: Points.
        detected_TJ: Mask of the points that count.
        columns: Points of each part that spans the box.
        keypoint_set: Rules of the normalization.

    Raises:
        ClipError: If there are too few points, or all are at one position; reason `no_scale`.
    """
    found_NC = np.concatenate([x_TJC[:, part][detected_TJ[:, part]] for part in columns])
    if len(found_NC) < keypoint_set.min_box_points:
        raise ClipError(
            f"only {len(found_NC)} points of the parts that give the scale were detected in all"
            f" frames, but {keypoint_set.min_box_points} are needed (confidence above"
            f" {keypoint_set.threshold:g})",
            "no_scale",
        )
    lower_C, upper_C = found_NC.min(axis=0), found_NC.max(axis=0)
    # An extent of NaN passes here: such a clip is refused later as `nan_frames`, with its frame.
    if (upper_C - lower_C).max() == 0:
        raise ClipError("the points that give the scale are all at one position", "no_scale")
    return lower_C, upper_C
