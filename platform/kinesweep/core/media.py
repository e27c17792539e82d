"""What counts as a video, by its name; and a stretch of one."""

from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.core.units import Span

VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".flv", ".wmv", ".m4v", ".mpg")
PICTURES = frozenset({".png", ".jpg", ".jpeg"})


def is_video(name: str) -> bool:
    """Whether a file of this name is a video."""
    return name.lower().endswith(VIDEOS)


def is_picture(path: Path) -> bool:
    """Whether a file of this name is a frame."""
    return path.suffix.lower() in PICTURES


def holds_pictures(folder: Path) -> bool:
    """Whether a folder is a video, picture by picture; looks no further than at the first one."""
    if not folder.is_dir():
        return False
    return any(map(is_picture, folder.iterdir()))


@dataclass(frozen=True)
class Footage:
    """A stretch of a video that nobody has opened yet.

    Attributes:
        path: a file, or a folder of pictures.
        span: which part.
        fps: of a folder of pictures; a file knows its own.
        pose: the `.pose` file of the whole video, where parts of frames are cut out by it.
    """

    path: Path
    span: Span = field(default_factory=Span)
    fps: float | None = None
    pose: Path | None = None
