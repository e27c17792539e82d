"""What there is of a clip without a pose file: a video, or a folder of frames, named like it."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kinesweep.sources.prepare.rows import PoseFile

VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".flv", ".wmv")
FRAMES = frozenset({".png", ".jpg", ".jpeg"})
ESTIMATE = "videos_to_poses --format mediapipe --recursive --directory"
"""Writes a pose file beside each video below a folder; of pose-format, with mediapipe installed."""


def unestimated(root: Path, files: Iterable[PoseFile]) -> str | None:
    """The first video or folder of frames that poses could be estimated of, as `root` sees it."""
    for file in files:
        stem = PurePosixPath(file.path).with_suffix("")
        for name in (stem.with_name(stem.name + suffix) for suffix in VIDEOS):
            if (root / name).is_file():
                return str(name)
        if _has_frames(root / stem):
            return f"{stem}/"
    return None


def _has_frames(folder: Path) -> bool:
    """Whether pictures lie in a folder; few entries are looked at."""
    if not folder.is_dir():
        return False
    return any(path.suffix.lower() in FRAMES for path in folder.iterdir())
