"""The choice between the joints that a file of HybrIK holds several times.

HybrIK's `res.pk` holds the joints of the fitted SMPL body (`pred_xyz_24_struct`, which CoachMe's
data consist of) and those before the fit (`pred_xyz_29`, of which `convert` takes the body by
default). The first 22 of both are the joints of SMPL's body.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kinesweep.core.errors import InputError
from kinesweep.sources.skeletons.motion_file import HYBRIK_JOINTS

HybrikJoints = Literal["pred_xyz_29", "pred_xyz_24", "pred_xyz_24_struct"]


def select_hybrik_joints(raw_records: Sequence[Any], joints: HybrikJoints | None) -> list[Any]:
    """Return records in which only one of HybrIK's arrays of joints is left.

    Args:
        raw_records: Records as read from a file.
        joints: Name of the array to keep; None keeps all, of which the first known one counts.

    Raises:
        InputError: If a record does not have the array.
    """
    if joints is None:
        return list(raw_records)
    selected = []
    for index, record in enumerate(raw_records):
        if not isinstance(record, Mapping) or joints not in record:
            names = ", ".join(map(str, record)) if isinstance(record, Mapping) else "no arrays"
            raise InputError(f"`--joints {joints}`: record {index} has {names}")
        # Other keys stay: texts and spans may accompany the joints.
        others = set(HYBRIK_JOINTS) - {joints}
        selected.append({key: value for key, value in record.items() if key not in others})
    return selected
