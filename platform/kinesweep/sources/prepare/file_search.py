"""Search for annotation files, and for the videos of clips without a pose file."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kinesweep.core.errors import InputError
from kinesweep.core.video_files import VIDEO_SUFFIXES
from kinesweep.sources.prepare.clip_annotation import PoseFile
from kinesweep.sources.video.video_reader import has_images

SPLIT_WORDS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""Split → words in the name of a file that assign it to the split."""


def find_split_file(folder: Path, split: str, suffix: str) -> Path | None:
    """Return the path of the only table of a split in a folder, or None without one.

    The name must contain a word of the split as a whole word: `how2sign_val.csv` is a table of
    validation, `vocab.tsv` of no split.

    Args:
        folder: Folder to search, without its subfolders.
        split: Name of the split.
        suffix: Suffix of the tables, in any case.

    Raises:
        InputError: If several files belong to the split, or a name has words of two splits.
    """
    matches = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != suffix or not path.is_file():
            continue
        words = set(re.split(r"[\W_]+", path.stem.lower()))
        splits = [name for name, known in SPLIT_WORDS.items() if words & set(known)]
        if split in splits and len(splits) > 1:
            raise InputError(
                f"`{path.name}` names several splits ({', '.join(splits)}); rename it so that one"
                " of them is left"
            )
        if split in splits:
            matches.append(path)
    return _take_only_file(matches, f"match the split `{split}`", folder)


def find_single_file(folder: Path, pattern: str) -> Path | None:
    """Return the path of the only file in a folder that matches a pattern, or None without one.

    Args:
        folder: Folder to search, without its subfolders.
        pattern: Glob pattern of the file name.

    Raises:
        InputError: If several files match the pattern.
    """
    matches = sorted(path for path in folder.glob(pattern) if path.is_file())
    return _take_only_file(matches, f"match `{pattern}`", folder)


def _take_only_file(matches: list[Path], condition: str, folder: Path) -> Path | None:
    """Return the only path of a list, or None if the list is empty.

    Raises:
        InputError: If there are several paths.
    """
    if len(matches) > 1:
        names = ", ".join(f"`{path.name}`" for path in matches)
        raise InputError(f"several files in `{folder}` {condition}: {names}; keep only one")
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
