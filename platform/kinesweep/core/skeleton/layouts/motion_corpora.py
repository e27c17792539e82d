"""Joints of corpora of motion: captions (KIT-ML) and poses in space (Human3.6M).

HumanML3D has the first 22 joints of SMPL and needs no layout of its own.
"""

from kinesweep.core.skeleton.layouts.layout_builder import build_layout

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
)
"""The 21 joints of the KIT Motion-Language Dataset, with the names of the Master Motor Map.

Order and names: `mmm_joints` of TEMOS; bones: `kit_kinematic_chain` of HumanML3D (paramUtil.py).
HumanML3D's processing of KIT-ML calls joints 11 to 15 the right leg, the MMM the left one; which of
two mirror images is named left does not change bones and mirror images.
"""

HUMAN36M_17 = build_layout(
    "human36m_17",
    (
        *("hip", "right_hip", "right_knee", "right_foot", "left_hip", "left_knee", "left_foot"),
        *("spine", "thorax", "neck", "head"),
        *("left_shoulder", "left_elbow", "left_wrist"),
        *("right_shoulder", "right_elbow", "right_wrist"),
    ),
    (
        "hip spine thorax neck head",
        "hip {}_hip {}_knee {}_foot",
        "thorax {}_shoulder {}_elbow {}_wrist",
    ),
)
"""The 17 of the 32 joints of Human3.6M that evaluations use, in the order of VideoPose3D.

Order and bones: `h36m_skeleton` in common/h36m_dataset.py after the removal of unused joints. The
joint called `neck` here lies at the nose and is called `nose` or `neck/nose` elsewhere.
"""
