"""The order of a layout's points in a mirror, where all of them have a place in it.

What is known of sides and partners is `core.mirror`'s; a point without a partner is refused here,
never left on the wrong side.
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.mirror import partners
from kinesweep.core.pose import PointLayout


def mirror_order(layout: PointLayout) -> NDArray[np.intp]:
    """For each point the place of its mirror image; applied twice, nothing has changed.

    Raises:
        InputError: a point has none.
    """
    order = []
    points = [(component, name) for component, names in layout.components for name in names]
    for (component, name), partner in zip(points, partners(layout), strict=True):
        if partner is None:
            raise InputError(
                f"`batch.augmentation.mirror` does not know the mirror image of `{name}` of"
                f" `{component}` in these features; set it to 0, or choose points that have one"
                " (`features.points: holistic_178`)"
            )
        order.append(partner)
    return np.array(order, np.intp)
