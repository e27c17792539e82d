"""Named layouts that carry their own bones and mirror images, one module a source."""

from kinesweep.core.skeleton.layouts.body_models import HAND_21, MANO_21, SMPLX_55
from kinesweep.core.skeleton.layouts.kinect import (
    AZURE_KINECT_32,
    KINECT_V1_20,
    KINECT_V2_25,
    NTU_RGBD_25,
)
from kinesweep.core.skeleton.layouts.motion_corpora import HUMAN36M_17, KIT_ML_21
from kinesweep.core.skeleton.layouts.openpose import OPENPOSE_135

NAMED_LAYOUTS = (
    KINECT_V1_20,
    KINECT_V2_25,
    AZURE_KINECT_32,
    NTU_RGBD_25,
    OPENPOSE_135,
    HUMAN36M_17,
    KIT_ML_21,
    SMPLX_55,
    MANO_21,
    HAND_21,
)
"""Layouts of `source.skeleton` whose bones are not those of the body tree (`core.topology`)."""
