"""Names of media in the rows of a TSV: what a row of each kind of corpus may contain as its signal.

A signal names a file, except in corpora of texts, where it is the text itself. A signal of the
wrong kind is an error of the table that says which kind of source reads it.
"""

from pathlib import PurePosixPath
from typing import Literal

from kinesweep.core.video_files import is_video_file

POSE_SUFFIX = ".pose"
ARRAY_SUFFIXES = (".npy", ".npz", ".pt")
"""Suffixes of files that hold precomputed features, one array or tensor each."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""Suffixes of files that hold one image."""
MediaKind = Literal["poses", "poses_or_videos", "videos", "features", "images", "texts"]
"""Kind of signal that rows may contain. `poses`: pose files; `poses_or_videos`: also videos, each
of which stands for the `.pose` file of the same name; `videos`: videos and folders of images only;
`features`: arrays; `images`: files with one image; `texts`: the text itself, not a file."""


def find_media_error(media: str, column: str, kind: MediaKind) -> str | None:
    """Find the reason why a field cannot be the signal of a row; return None if it can.

    Args:
        media: Content of the field.
        column: Name of the column, for the message.
        kind: Kind of signal that rows may contain.
    """
    # Any text may be a source text; an empty one is a row without input, not an error.
    if kind == "texts":
        return None
    if kind == "videos":
        return _find_video_name_error(media, column)
    if kind in _SUFFIXES:
        return _find_suffix_error(media, column, *_SUFFIXES[kind])
    return _find_pose_name_error(media, column)


def _find_pose_name_error(media: str, column: str) -> str | None:
    """Find the error of a field that is empty or does not name a `.pose` file."""
    if not media:
        return f"`{column}` is empty; it must name a `{POSE_SUFFIX}` file"
    if split_suffix(media)[1].lower() == POSE_SUFFIX:
        return None
    return (
        f"`{column}` names `{media}`, which is not a `{POSE_SUFFIX}` file; if it is a video,"
        " set `source.videos` to the folder of the videos to have its poses estimated first"
        " (or run `kinesweep estimate-poses VIDEOS --out POSES` and name the `.pose` file here)"
    )


def _find_video_name_error(media: str, column: str) -> str | None:
    """Find the error of a field that is empty or names a `.pose` file instead of a video."""
    if not media:
        return f"`{column}` is empty; it must name a video or a folder of pictures"
    if PurePosixPath(media).suffix.lower() == POSE_SUFFIX:
        return f"`{column}` names `{media}`, which holds poses; read them with `kind: pose_tsv`"
    return None


_SUFFIXES: dict[str, tuple[str, tuple[str, ...]]] = {
    "features": ("a file with features", ARRAY_SUFFIXES),
    "images": ("a file with one image", (*IMAGE_SUFFIXES, ".npy")),
}
"""Kind of signal → description and suffixes of its files, for kinds that suffixes decide."""
_KINDS_BY_SUFFIX = {
    POSE_SUFFIX: "pose_tsv",
    **dict.fromkeys(ARRAY_SUFFIXES, "feature_tsv"),
    **dict.fromkeys(IMAGE_SUFFIXES, "image_tsv"),
}
"""Suffix of a file → kind of source that reads it, for messages."""


def _find_suffix_error(
    media: str, column: str, description: str, suffixes: tuple[str, ...]
) -> str | None:
    """Find the error of a field that is empty or names a file with another suffix.

    Args:
        media: Content of the field.
        column: Name of the column.
        description: Description of the files, with its article.
        suffixes: Allowed suffixes in lower case.
    """
    allowed = ", ".join(f"`{suffix}`" for suffix in suffixes)
    if not media:
        return f"`{column}` is empty; it must name {description} ({allowed})"
    suffix = split_suffix(media)[1].lower()
    if suffix in suffixes:
        return None
    kind = "video_tsv" if is_video_file(media) else _KINDS_BY_SUFFIX.get(suffix)
    advice = f"; read it with `kind: {kind}`" if kind else ""
    return f"`{column}` names `{media}`, which is not {description} ({allowed}){advice}"


def get_pose_path(media: str) -> str:
    """Return the path of the `.pose` file that belongs to a video or a folder of images.

    An empty path and the path of a `.pose` file are returned unchanged.
    """
    if not media or media.lower().endswith(POSE_SUFFIX):
        return media
    stem = media.removesuffix(PurePosixPath(media).suffix) if is_video_file(media) else media
    return stem.rstrip("/") + POSE_SUFFIX


def remove_media_suffix(media: str) -> str:
    """Return a path without its suffix if that is the suffix of a media file."""
    # The name of a folder of images may contain a dot that is not the start of a suffix.
    stem, suffix = split_suffix(media)
    return stem if is_video_file(media) or suffix.lower() in _KINDS_BY_SUFFIX else media


def split_suffix(path: str) -> tuple[str, str]:
    """Split a path into the part before its suffix and the suffix, which is empty without one.

    The result is that of `PurePosixPath.suffix`, which took half the time of reading a table.
    """
    dot = path.rfind(".")
    is_suffix = path.rfind("/") + 1 < dot < len(path) - 1
    return (path[:dot], path[dot:]) if is_suffix else (path, "")
