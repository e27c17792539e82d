"""The kinds of raw files that models translate, by the kind of the corpus of their training.

A folder given to `translate` stands for its files of the right kind. A file with a suffix that is
certainly of another kind is refused; files with unknown suffixes are tried, and their reader
reports the problem.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kinesweep.config.parts import SourcePart
from kinesweep.config.recipe.source import SingleSourceConfig, TsvConfig
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.core.video_files import VIDEO_SUFFIXES
from kinesweep.export.estimated_motions import is_video
from kinesweep.sources.precomputed.pt_features import FEATURE_SUFFIX
from kinesweep.sources.precomputed.shard_index import SHARD_SUFFIX
from kinesweep.sources.skeletons.motion_file import MOTION_SUFFIXES
from kinesweep.sources.tsv.media_names import (
    ARRAY_SUFFIXES,
    IMAGE_SUFFIXES,
    POSE_SUFFIX,
    MediaKind,
)
from kinesweep.sources.tsv.row_spans import TimeUnit


@dataclass(frozen=True)
class RawFileKind:
    """A kind of raw file.

    Attributes:
        description: Description of the files as a plural noun, for messages.
        is_accepted: Function that decides from a path whether it is such a file.
        rejected_suffixes: Suffixes of files that are certainly of another kind.
        column: Request column for the bytes of a file.
        suffix: Suffix of such a file.
    """

    description: str
    is_accepted: Callable[[Path], bool]
    rejected_suffixes: tuple[str, ...]
    column: str
    suffix: str


TEXT_SUFFIX = ".txt"
"""Suffix of files with texts to translate, one in each line."""
TEXT_COLUMN = "source_text"
"""Request column for a text to translate, the only one that does not contain bytes."""
_TEXT_FILES = (
    lambda path: path.suffix.lower() == TEXT_SUFFIX,
    (POSE_SUFFIX, *ARRAY_SUFFIXES, SHARD_SUFFIX, *IMAGE_SUFFIXES, *VIDEO_SUFFIXES),
    TEXT_COLUMN,
    TEXT_SUFFIX,
)
RAW_FILE_KINDS: Mapping[str, RawFileKind] = {
    "pose_tsv": RawFileKind(
        f"`{POSE_SUFFIX}` files",
        lambda path: path.suffix == POSE_SUFFIX,
        (FEATURE_SUFFIX, SHARD_SUFFIX, *VIDEO_SUFFIXES),
        "pose",
        POSE_SUFFIX,
    ),
    "video_tsv": RawFileKind(
        "videos", is_video, (FEATURE_SUFFIX, SHARD_SUFFIX, POSE_SUFFIX), "video", ".mp4"
    ),
    "feature_manifest": RawFileKind(
        f"`{FEATURE_SUFFIX}` files",
        lambda path: path.suffix == FEATURE_SUFFIX,
        (POSE_SUFFIX, SHARD_SUFFIX, *VIDEO_SUFFIXES),
        "tensor",
        FEATURE_SUFFIX,
    ),
    "feature_tsv": RawFileKind(
        f"files with features ({', '.join(ARRAY_SUFFIXES)})",
        lambda path: path.suffix.lower() in ARRAY_SUFFIXES,
        (POSE_SUFFIX, SHARD_SUFFIX, *VIDEO_SUFFIXES),
        "array",
        ARRAY_SUFFIXES[0],
    ),
    "image_tsv": RawFileKind(
        f"images ({', '.join(IMAGE_SUFFIXES)})",
        lambda path: path.suffix.lower() in IMAGE_SUFFIXES,
        (POSE_SUFFIX, FEATURE_SUFFIX, SHARD_SUFFIX, *VIDEO_SUFFIXES),
        "image",
        IMAGE_SUFFIXES[0],
    ),
    "text_tsv": RawFileKind("texts", *_TEXT_FILES),
    "signwriting_tsv": RawFileKind("texts in Formal SignWriting", *_TEXT_FILES),
    "h5_shards": RawFileKind(
        f"`{SHARD_SUFFIX}` files with one dataset per stream",
        lambda path: path.suffix == SHARD_SUFFIX,
        (POSE_SUFFIX, FEATURE_SUFFIX, *VIDEO_SUFFIXES),
        "shard",
        SHARD_SUFFIX,
    ),
    "skeletons": RawFileKind(
        f"files with one motion ({', '.join(MOTION_SUFFIXES)})",
        lambda path: path.suffix in MOTION_SUFFIXES,
        (FEATURE_SUFFIX, SHARD_SUFFIX, *VIDEO_SUFFIXES),
        "motion",
        MOTION_SUFFIXES[0],
    ),
}
"""Kind of the source → kind of its raw files."""


def get_raw_file_kind(source: SingleSourceConfig) -> RawFileKind:
    """Return the kind of raw files that a model of this corpus translates."""
    if not isinstance(source, SourcePart):
        return RAW_FILE_KINDS[source.kind]
    suffixes = source.file_suffixes
    return RawFileKind(
        f"files of `{source.kind}`" + (f" ({', '.join(suffixes)})" if suffixes else ""),
        lambda path: not suffixes or path.suffix.lower() in suffixes,
        (),
        "file",
        suffixes[0] if suffixes else "",
    )


_MEDIA_KINDS: Mapping[str, MediaKind] = {
    "pose_tsv": "poses",
    "video_tsv": "videos",
    "feature_tsv": "features",
    "image_tsv": "images",
    "text_tsv": "texts",
    "signwriting_tsv": "texts",
}


def get_media_kind(source: SingleSourceConfig) -> MediaKind | None:
    """Return the kind of signal in tables to translate; None for a corpus without such tables."""
    return _MEDIA_KINDS.get(source.kind)


def get_time_unit(source: SingleSourceConfig) -> TimeUnit:
    """Return the unit of the columns with start and end in tables to translate."""
    # Images and texts have no times; the columns must then be empty or 0.
    return source.time_unit if isinstance(source, TsvConfig | FeatureTsvConfig) else "ms"
