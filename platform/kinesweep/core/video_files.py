"""Video files: recognition by file name, and segments of videos that are not opened yet."""

from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.core.units import Span

# A tuple, because `str.endswith` accepts one.
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".flv", ".wmv", ".m4v", ".mpg")
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


def is_video_file(name: str) -> bool:
    """Return whether the file name has the suffix of a video."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def is_image_file(path: Path) -> bool:
    """Return whether the file name has the suffix of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def has_images(folder: Path) -> bool:
    """Return whether a folder contains an image; stops at the first one found."""
    if not folder.is_dir():
        return False
    # `map` is lazy: a folder may contain many thousands of frames.
    return any(map(is_image_file, folder.iterdir()))


@dataclass(frozen=True)
class VideoSegment:
    """A segment of a video that has not been opened yet.

    Attributes:
        path: Video file, or folder of images.
        span: Part of the video.
        fps: Frame rate in frames per second for a folder of images; a video file stores its own.
        pose_path: `.pose` file of the whole video, if body parts are cropped from its frames.
    """

    path: Path
    span: Span = field(default_factory=Span)
    fps: float | None = None
    pose_path: Path | None = None
