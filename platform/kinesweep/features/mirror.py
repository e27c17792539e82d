"""Point permutations for horizontal mirroring.

`core.skeleton.symmetry` knows which left point belongs to which right point. A layout with a point
that has no counterpart is rejected here, because that point would otherwise stay on the wrong side.
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.symmetry import find_mirror_indices


def compute_mirror_permutation(layout: PointLayout) -> NDArray[np.intp]:
    """Compute for each point the index of its mirror image, (J,).

    The permutation is its own inverse.

    Raises:
        InputError: If the mirror image of a point is unknown.
    """
    order = []
    points = [(component, name) for component, names in layout.components for name in names]
    for (component, name), partner in zip(points, find_mirror_indices(layout), strict=True):
        if partner is None:
            raise InputError(
                f"`batch.augmentation.mirror` is set, but the mirror image of the point `{name}`"
                f" of `{component}` is unknown; set it to 0, or select points that all have a"
                " mirror image (`features.points: holistic_178`)"
            )
        order.append(partner)
    return np.array(order, np.intp)
