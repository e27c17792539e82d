"""Joints of corpora of captioned motion.

HumanML3D has the first 22 joints of SMPL and needs no layout of its own.
"""

from kinesweep.core.skeleton.layouts.layout_builder import build_layout

_KIT_SIDES = str.maketrans("LR", "RL")

KIT_ML_21 = build_layout(
    "kit_ml_21",
    (
        *("root", "BP", "BT", "BLN", "BUN"),
        *("LS", "LE", "LW", "RS", "RE", "RW"),
        *("LH", "LK", "LA", "LMrot", "LF", "RH", "RK", "RA", "RMrot", "RF"),
    ),
    (
        "root BP BT BLN BUN",
        "BLN LS LE LW",
        "BLN RS RE RW",
        "root LH LK LA LMrot LF",
        "root RH RK RA RMrot RF",
    ),
    # Only sided joints begin with a side; the L of `BLN` (lower neck) is none.
    lambda joint: joint[:1].translate(_KIT_SIDES) + joint[1:],
)
"""The 21 joints of the KIT Motion-Language Dataset, with the names of the Master Motor Map.

Order and names: `mmm_joints` of TEMOS; bones: `kit_kinematic_chain` of HumanML3D (paramUtil.py).
HumanML3D's processing of KIT-ML calls joints 11 to 15 the right leg, the MMM the left one; which of
two mirror images is named left does not change bones and mirror images.
"""
