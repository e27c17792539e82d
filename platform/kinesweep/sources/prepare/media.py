"""Search for the video or folder of frames of a clip without a pose file."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kinesweep.core.video_files import VIDEO_SUFFIXES, has_images
from kinesweep.sources.prepare.rows import PoseFile


def find_unestimated_video(root: Path, files: Iterable[PoseFile]) -> str | None:
    """Find the first video or folder of frames from which poses could be estimated.

    Args:
        root: Folder to search.
        files: Pose files of the clip, none of which exists.

    Returns:
        The path relative to `root`, with a trailing slash for a folder, or None.
    """
    for file in files:
        stem = PurePosixPath(file.path).with_suffix("")
        # Not `with_suffix`, which would cut off a part of a name with a dot in it.
        for name in (stem.with_name(stem.name + suffix) for suffix in VIDEO_SUFFIXES):
            if (root / name).is_file():
                return str(name)
        if has_images(root / stem):
            return f"{stem}/"
    return None
