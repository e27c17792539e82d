"""What counts as a video, by its name."""

from pathlib import Path

VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".flv", ".wmv", ".m4v", ".mpg")
PICTURES = frozenset({".png", ".jpg", ".jpeg"})


def is_video(name: str) -> bool:
    """Whether a file of this name is a video."""
    return name.lower().endswith(VIDEOS)


def holds_pictures(folder: Path) -> bool:
    """Whether a folder is a video, picture by picture; looks no further than at the first one."""
    if not folder.is_dir():
        return False
    return any(path.suffix.lower() in PICTURES for path in folder.iterdir())
