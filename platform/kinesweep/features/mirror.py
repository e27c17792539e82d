"""Horizontal mirroring of frames, and the point permutations that it requires.

`core.skeleton.symmetry` knows which left point belongs to which right point. A layout with a point
that has no counterpart is rejected here, because that point would otherwise stay on the wrong side.

Shapes: T frames, D = H·W·3; H × W pixels; J points.
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.symmetry import find_mirror_indices


def compute_mirror_permutation(layout: PointLayout) -> NDArray[np.intp]:
    """Compute the permutation of a layout's points that mirroring requires.

    Returns:
        Index of the mirror image of each point, (J,). The permutation is its own inverse.

    Raises:
        InputError: If the mirror image of a point is unknown.
    """
    permutation = []
    points = [(component, name) for component, names in layout.components for name in names]
    for (component, name), mirror_index in zip(points, find_mirror_indices(layout), strict=True):
        if mirror_index is None:
            raise InputError(
                f"`batch.augmentation.mirror` is set, but the mirror image of the point `{name}`"
                f" of `{component}` is unknown; set it to 0, or select points that all have a"
                " mirror image (`features.points: holistic_178`, or `left_right` of a declared"
                " `source.skeleton`)"
            )
        permutation.append(mirror_index)
    return np.array(permutation, np.intp)


def mirror_frames(x_TD: NDArray[np.uint8], frame_size: int) -> NDArray[np.uint8]:
    """Mirror the frames of a video.

    Args:
        x_TD: Pixels of the frames.
        frame_size: Side of a frame in pixels.
    """
    x_THWC = x_TD.reshape(len(x_TD), frame_size, frame_size, -1)
    return x_THWC[:, :, ::-1].reshape(x_TD.shape)
