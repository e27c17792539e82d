"""Search for annotation files, and for the videos of clips without a pose file."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kinesweep.core.errors import InputError
from kinesweep.core.video_files import VIDEO_SUFFIXES
from kinesweep.sources.prepare.clip_annotation import PoseFile
from kinesweep.sources.video.video_reader import has_images


def find_single_file(folder: Path, pattern: str) -> Path | None:
    """Return the path of the only file in a folder that matches a pattern, or None without one.

    Args:
        folder: Folder to search, without its subfolders.
        pattern: Glob pattern of the file name.

    Raises:
        InputError: If several files match the pattern.
    """
    matches = sorted(path for path in folder.glob(pattern) if path.is_file())
    if len(matches) > 1:
        names = ", ".join(f"`{path.name}`" for path in matches)
        raise InputError(f"several files in `{folder}` match `{pattern}`: {names}; keep only one")
    return matches[0] if matches else None


def find_unestimated_video(root: Path, pose_files: Iterable[PoseFile]) -> str | None:
    """Find a video or folder of frames from which the missing poses of a clip can be estimated.

    Args:
        root: Folder to search.
        pose_files: Pose files of the clip, none of which exists, in the order of preference.

    Returns:
        The path of the first match relative to `root`, with a trailing slash for a folder, or None
        if there is neither a video nor a folder.
    """
    for pose_file in pose_files:
        stem = PurePosixPath(pose_file.path).with_suffix("")
        # Not `with_suffix`, which would cut off a part of a name with a dot in it.
        for video in (stem.with_name(stem.name + suffix) for suffix in VIDEO_SUFFIXES):
            if (root / video).is_file():
                return str(video)
        if has_images(root / stem):
            return f"{stem}/"
    return None
