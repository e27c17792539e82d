"""Output of external pose estimators, which is converted to `.pose` files.

A search finds the output of each clip among files and folders, a reader per estimator converts it
to detections by frame number, frames are placed, people are followed from frame to frame, and a
pose is assembled. The point layouts are published ones (`point_layouts`); what is not known is
refused with the list of what is known.
"""

from kinesweep.features.estimators.external_outputs.clip_output import ClipOutput
from kinesweep.features.estimators.external_outputs.output_search import (
    OutputSearch,
    find_estimator_outputs,
)
from kinesweep.features.estimators.external_outputs.readers import (
    OUTPUT_READERS,
    ImportedPose,
    read_estimator_output,
)
from kinesweep.features.estimators.external_outputs.video_properties import (
    VideoProperties,
    parse_video_properties,
)

__all__ = [
    "OUTPUT_READERS",
    "ClipOutput",
    "ImportedPose",
    "OutputSearch",
    "VideoProperties",
    "find_estimator_outputs",
    "parse_video_properties",
    "read_estimator_output",
]
