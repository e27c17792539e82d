"""Video files: recognition by file name, and segments of videos that are not opened yet.

Folders of images, which are videos too, are recognized by the reader that decodes them
(`sources.video.video_reader`).
"""

from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.core.units import Span

# A tuple, because `str.endswith` accepts one.
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".flv", ".wmv", ".m4v", ".mpg")


def is_video_file(name: str) -> bool:
    """Return whether a file name has the suffix of a video file, in any case."""
    return name.lower().endswith(VIDEO_SUFFIXES)


@dataclass(frozen=True)
class VideoSegment:
    """A segment of a video that has not been opened yet.

    Attributes:
        path: Video file, or folder of images.
        span: Part of the video.
        fps: Frame rate in frames per second: that of a folder of images, or the rate at which the
            frames of a video file are chosen by their time stamps; None for the file's own.
        pose_path: `.pose` file of the whole video, if body parts are cropped from its frames.
        clip_id: Id of the clip, from which the random augmentation of its pixels follows; empty if
            none is computed.
    """

    path: Path
    span: Span = field(default_factory=Span)
    fps: float | None = None
    pose_path: Path | None = None
    clip_id: str = ""
