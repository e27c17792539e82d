"""Points that were not detected: filling gaps in time, and the mask beside the coordinates.

With `features.missing: interpolate`, gaps are filled in the coordinates of the file, before
resampling and normalization, whose means still use only detected points. With `mask`, each point
gets one further value after its coordinates, 1 where it was detected and 0 elsewhere, as ST-GCN
takes a confidence as third channel of a joint (Yan et al., 2018). A frame then has J · (C + 1)
values. The mask stands beside its point, so that everything that splits a frame into points stays
correct.

Shapes: T frames, J points, C coordinates, D = J·C or J·(C + 1).
"""

import numpy as np
from numpy.typing import NDArray


def interpolate_missing_points(
    x_TJC: NDArray[np.float32], detected_TJ: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Fill undetected points in place, linear in time between the frames that detected them.

    Before the first and after the last detection, the position there is held. A point that is never
    detected is not filled.

    Args:
        x_TJC: Points; the array is changed.
        detected_TJ: Mask of the detected points.

    Returns:
        Mask of the points that now have a position, (T, J): all points that are detected at least
        once, in every frame.
    """
    num_frames = len(x_TJC)
    frames_T1 = np.arange(num_frames)[:, None]
    # The last detection up to each frame, and the first one from it on; -1 and T stand for none.
    before_TJ = np.maximum.accumulate(np.where(detected_TJ, frames_T1, -1))
    after_TJ = np.minimum.accumulate(np.where(detected_TJ, frames_T1, num_frames)[::-1])[::-1]
    before_TJ, after_TJ = (
        np.where(before_TJ < 0, after_TJ, before_TJ),
        np.where(after_TJ == num_frames, before_TJ, after_TJ),
    )
    known_TJ = np.broadcast_to(detected_TJ.any(axis=0), detected_TJ.shape)
    frames, points = np.nonzero(known_TJ & ~detected_TJ)
    first, last = before_TJ[frames, points], after_TJ[frames, points]
    # At the edges both are the same frame, so the weight does not matter.
    weight = ((frames - first) / np.maximum(last - first, 1)).astype(np.float32)[:, None]
    x_TJC[frames, points] = x_TJC[first, points] * (1 - weight) + x_TJC[last, points] * weight
    return known_TJ


def append_detection_mask(
    x_TJC: NDArray[np.float32], detected_TJ: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Append the mask to the coordinates of each point: 1 where detected, otherwise 0.

    Returns:
        Coordinates and mask, (T, J, C + 1).
    """
    return np.concatenate([x_TJC, detected_TJ[..., None].astype(np.float32)], axis=2)
