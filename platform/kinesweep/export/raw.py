"""Raw files as a bundle's feature step takes them: poses, videos, or features from elsewhere."""

from collections.abc import Callable
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.core.media import Footage, holds_pictures, is_video
from kinesweep.core.recipe import Recipe
from kinesweep.core.units import Span
from kinesweep.sources import read_pose
from kinesweep.sources.contract import Media
from kinesweep.sources.feature_file import FEATURE_SUFFIX, read_features
from kinesweep.sources.pose_rows import POSE_SUFFIX


def open_raw(recipe: Recipe, file: Path, span: Span) -> Media:
    """A raw file as the source of a recipe would read it.

    Raises:
        ClipError: it cannot be read; it is named.
        InputError: a span of features that is not all of them.
    """
    source = recipe.corpora[0]
    if source.kind == "pose_tsv":
        return read_pose(file, span, source.person)
    if source.kind == "video_tsv":
        return Footage(file, span, source.fps if file.is_dir() else None)
    if span.start is not None or (span.end is not None and span.unit != "frames"):
        raise InputError(f"`{file}` holds features, of which only all can be translated")
    return read_features(file, source.fps, span.end)


def is_raw(recipe: Recipe) -> Callable[[Path], bool]:
    """Tells which files below a folder are meant to be translated."""
    return _MEANT[recipe.corpora[0].kind]


def kind_of_raw(recipe: Recipe) -> str:
    """The same in words."""
    return _WORDS[recipe.corpora[0].kind]


def file_of_raw(recipe: Recipe) -> tuple[str, str]:
    """What a file's bytes are called where they are sent, and the suffix that they had."""
    return _SENT[recipe.corpora[0].kind]


_MEANT: dict[str, Callable[[Path], bool]] = {
    "pose_tsv": lambda path: path.suffix == POSE_SUFFIX,
    "video_tsv": lambda path: holds_pictures(path) if path.is_dir() else is_video(path.name),
    "feature_manifest": lambda path: path.suffix == FEATURE_SUFFIX,
}
_WORDS = {
    "pose_tsv": f"`{POSE_SUFFIX}` files",
    "video_tsv": "videos",
    "feature_manifest": f"`{FEATURE_SUFFIX}` files",
}
_SENT = {
    "pose_tsv": ("pose", POSE_SUFFIX),
    "video_tsv": ("video", ".mp4"),
    "feature_manifest": ("tensor", FEATURE_SUFFIX),
}
