"""The frames of a video segment as a recipe selects them: whole, of the signer, or of body parts.

A check of a corpus uses it as well, so it imports no PyTorch.
"""

from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.video import WHOLE_FRAME_CROP, VideoFeaturesConfig
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.body_crops import CroppedFrames
from kinesweep.sources.video.frame_reader import FrameReader


def open_frames(
    segment: VideoSegment,
    config: VideoFeaturesConfig | FramesFeaturesConfig,
    size: int | None,
) -> FrameReader | CroppedFrames:
    """Open a segment; the result iterates over its frames, and over their crops if there are any.

    Args:
        segment: Video file, time span and, if poses locate the crops, pose file.
        config: Video features or frames, with their crops.
        size: Height of the frames and width of each crop in pixels. None keeps whole frames as they
            are, and crops small; a check of the frames needs no size.

    Raises:
        ClipError: If the video or its poses cannot be opened.
    """
    crops = config.crops if isinstance(config, VideoFeaturesConfig) else WHOLE_FRAME_CROP
    if crops != WHOLE_FRAME_CROP or config.crop is not None:
        return CroppedFrames(segment, crops, size or _CHECKED_SIZE, config.crop)
    return FrameReader(segment, size)


_CHECKED_SIZE = 16
