"""Properties of a video that the output of a pose estimator does not contain."""

import re
from dataclasses import dataclass

from kinesweep.core.errors import InputError

# The header of a `.pose` file stores width and height in 16 bits.
MAX_SIDE_PX = 2**16 - 1
# High-speed cameras reach it; above it, the number is almost certainly a mistake.
MAX_FPS = 1000.0


@dataclass(frozen=True)
class VideoProperties:
    """The properties of a video that an estimator's output does not contain.

    Attributes:
        fps: Frame rate in frames per second.
        width: Width in pixels.
        height: Height in pixels.
    """

    fps: float
    width: int
    height: int


def parse_video_properties(text: str) -> VideoProperties:
    """Parse the properties of a video (width, height, frame rate) from a text like `1280x720@25`.

    Raises:
        InputError: If the text has another form, or a number is 0 or too large.
    """
    match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})@([0-9]{1,9}(?:\.[0-9]+)?)", text)
    if match is None or not all(float(group) > 0 for group in match.groups()):
        raise InputError(f"`{text}` must give width, height and frames per second: `1280x720@25`")
    video = VideoProperties(float(match[3]), int(match[1]), int(match[2]))
    if max(video.width, video.height) > MAX_SIDE_PX or video.fps > MAX_FPS:
        raise InputError(
            f"`{text}` must give at most {MAX_SIDE_PX} pixels a side and {MAX_FPS:g} frames per"
            " second, such as `1280x720@25`"
        )
    return video
