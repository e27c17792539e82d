"""Readers of the output of external pose estimators for one clip, by the estimator's name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from pose_format import Pose

from kinesweep.core.errors import ClipError
from kinesweep.features.estimators.external_outputs.alphapose import read_alphapose
from kinesweep.features.estimators.external_outputs.clip_output import ClipOutput
from kinesweep.features.estimators.external_outputs.detections import ClipDetections
from kinesweep.features.estimators.external_outputs.frame_placement import place_frames
from kinesweep.features.estimators.external_outputs.mmpose import read_mmpose
from kinesweep.features.estimators.external_outputs.openpifpaf import read_openpifpaf
from kinesweep.features.estimators.external_outputs.openpose import read_openpose
from kinesweep.features.estimators.external_outputs.person_tracking import assign_people
from kinesweep.features.estimators.external_outputs.point_layouts import KNOWN_LAYOUTS
from kinesweep.features.estimators.external_outputs.pose_assembly import assemble_pose
from kinesweep.features.estimators.external_outputs.video_properties import VideoProperties

# A person may always move by this share of the image's diagonal from one frame to the next.
_MIN_REACH_SHARE = 0.1

OUTPUT_READERS: Mapping[str, Callable[[ClipOutput], ClipDetections]] = {
    "openpose": partial(read_openpose, layouts=KNOWN_LAYOUTS["openpose"]),
    "openpose_25b": partial(read_openpose, layouts=KNOWN_LAYOUTS["openpose_25b"]),
    "openpose_135": partial(read_openpose, layouts=KNOWN_LAYOUTS["openpose_135"]),
    "alphapose": read_alphapose,
    "mmpose": read_mmpose,
    "openpifpaf": read_openpifpaf,
}
"""Name of the estimator → reader of the output for one clip."""


@dataclass(frozen=True)
class ImportedPose:
    """A pose that was read from the output of an estimator.

    Attributes:
        pose: Pose with all people of the clip.
        notes: Findings that the user should know, in full sentences.
    """

    pose: Pose
    notes: tuple[str, ...]

    @property
    def num_people(self) -> int:
        """Return the number of people of the pose."""
        return int(self.pose.body.data.shape[1])


def read_estimator_output(
    estimator_name: str,
    output: ClipOutput,
    video: VideoProperties,
    first_frame: int | None = None,
) -> ImportedPose:
    """Read the output of an external estimator for one clip as a pose.

    Args:
        estimator_name: Name of the estimator, a key of `OUTPUT_READERS`.
        output: Files of the clip.
        video: Properties of the video that the output belongs to.
        first_frame: Number of the video's first frame in the output; None to take it from the
            output.

    Raises:
        ClipError: If the output cannot be read, has another format or contains no people; reason
            `bad_output`.
    """
    try:
        clip = OUTPUT_READERS[estimator_name](output)
        frames, notes = place_frames(clip, video.fps, first_frame)
        reach = _MIN_REACH_SHARE * float(np.hypot(video.width, video.height))
        pose, more_notes = assemble_pose(
            frames, assign_people(frames, reach), clip.components, video
        )
    except (OSError, ValueError) as error:
        text = f"`{output.path}` is not an output of {estimator_name} that can be used: {error}"
        raise ClipError(text, "bad_output") from None
    largest = float(np.abs(np.ma.getdata(pose.body.data)).max())
    if 0 < largest <= 1:
        notes.append(
            "All coordinates are between -1 and 1, so they are not pixels and x and y may have"
            " different units. Run the estimator without scaling (OpenPose: `--keypoint_scale 0`)."
        )
    return ImportedPose(pose, (*notes, *more_notes))
