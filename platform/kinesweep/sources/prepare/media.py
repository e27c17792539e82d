"""What there is of a clip without a pose file: a video, or a folder of frames, named like it."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kinesweep.core.media import VIDEOS, holds_pictures
from kinesweep.sources.prepare.rows import PoseFile


def unestimated(root: Path, files: Iterable[PoseFile]) -> str | None:
    """The first video or folder of frames that poses could be estimated of, as `root` sees it."""
    for file in files:
        stem = PurePosixPath(file.path).with_suffix("")
        for name in (stem.with_name(stem.name + suffix) for suffix in VIDEOS):
            if (root / name).is_file():
                return str(name)
        if holds_pictures(root / stem):
            return f"{stem}/"
    return None
