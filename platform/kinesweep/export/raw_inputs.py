"""Raw inputs of a bundle: read poses, videos or precomputed features for its feature step.

The kind of file depends on the corpus that the model was trained on. Tables at the end of the
module map the kind of the source to suffixes, descriptions and column names.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.errors import InputError
from kinesweep.core.skeleton.skeleton import SKELETONS
from kinesweep.core.units import Span
from kinesweep.core.video_files import VIDEO_SUFFIXES, VideoSegment, has_images, is_video_file
from kinesweep.sources import read_pose
from kinesweep.sources.base import Media, SkeletonMotion
from kinesweep.sources.precomputed.pt_features import FEATURE_SUFFIX, read_features
from kinesweep.sources.precomputed.shard_index import SHARD_SUFFIX
from kinesweep.sources.skeletons.motion_file import MOTION_SUFFIXES, read_single_motion
from kinesweep.sources.tsv.tsv_rows import POSE_SUFFIX, get_pose_path


@dataclass(frozen=True)
class Input:
    """One clip to translate.

    Attributes:
        file: Path of a pose, video, motion or feature file, as the model was trained on.
        span: Part of the file to translate.
        encoder_prompt: Prompt in front of the frames; None selects the bundle's.
        decoder_prompt: Prefix of the output text; None selects the bundle's.
        document: Name of the document. Earlier clips of a document are context for later ones; a
            clip with an empty name has no context.
        order: Position within the document; ties keep the order of the list.
        reference: Path of the motion that the clip is compared with; None compares it with itself.
        read_media: Function that reads a row of a motion table including its reference; None reads
            `file` instead.
        includes_reference: Whether the media from `read_media` include a reference.
    """

    file: Path
    span: Span = field(default_factory=Span)
    encoder_prompt: str | None = None
    decoder_prompt: str | None = None
    document: str = ""
    order: int = 0
    reference: Path | None = None
    read_media: Callable[[], Media] | None = None
    includes_reference: bool = False

    @property
    def is_own_reference(self) -> bool:
        """Whether the clip has no reference and is compared with itself."""
        return self.reference is None and not self.includes_reference


def read_raw_file(
    recipe: Recipe, file: Path, span: Span, auxiliary_file: Path | None = None
) -> Media:
    """Read a raw file as the source of a recipe would read it.

    Args:
        recipe: Recipe of the bundle.
        file: Path of a file with poses, a video, a motion or features.
        span: Part of the file.
        auxiliary_file: Path of a second file. For a video with crops: its poses, by default those
            next to it. For a motion: the reference, by default the motion itself.

    Raises:
        ClipError: If the file cannot be read; the message names it.
        InputError: If the file is of another kind, a span selects only a part of features, a video
            lacks its poses or a reference has other points.
    """
    # A model trained on several corpora translates files like those of the first one.
    source = recipe.corpora[0]
    if file.suffix.lower() in _REJECTED_SUFFIXES[source.kind]:
        raise InputError(f"`{file}`: this model translates {describe_raw_files(recipe)}")
    if source.kind == "pose_tsv":
        return read_pose(file, span, source.person)
    if source.kind == "video_tsv":
        fps = source.fps if file.is_dir() else None
        return VideoSegment(file, span, fps, auxiliary_file or _find_pose_file(recipe, file))
    if isinstance(source, SkeletonsConfig):
        return _read_motion(source, file, span, auxiliary_file)
    if source.kind == "h5_shards":
        if not span.is_full:
            raise InputError(_SPAN_ERROR.format(file))
        from kinesweep.sources.precomputed.h5_shards import read_streams  # HDF5 is needed only here

        return read_streams(file, source.select_streams(recipe.selected_streams))
    # An end in frames is the length stated by the manifest; `read_features` checks it.
    if span.start is not None or (span.end is not None and span.unit != "frames"):
        raise InputError(_SPAN_ERROR.format(file))
    return read_features(file, source.fps, span.end)


def _find_pose_file(recipe: Recipe, video: Path) -> Path | None:
    """Find the pose file next to a video if the model uses crops; otherwise return None.

    Raises:
        InputError: If the pose file does not exist.
    """
    if not isinstance(recipe.features, VideoFeaturesConfig) or not recipe.features.has_body_crops:
        return None
    path = Path(get_pose_path(str(video)))
    if not path.is_file():
        raise InputError(
            f"the model uses crops ({', '.join(recipe.features.crops)}) of `{video}`, whose"
            f" positions come from its poses, but `{path}` does not exist; run"
            f" `kinesweep estimate-poses {video.parent} --out {video.parent}` first"
        )
    return path


def _read_motion(
    source: SkeletonsConfig, file: Path, span: Span, reference_path: Path | None
) -> SkeletonMotion:
    """Read a motion and, if a path is given, its reference.

    Raises:
        ClipError: If one of the files cannot be read.
        InputError: If the two motions have different points or numbers of coordinates.
    """
    skeleton = SKELETONS[source.skeleton]
    pose = read_single_motion(file, span, skeleton, source.fps)
    if reference_path is None:
        return SkeletonMotion(pose)
    reference = read_single_motion(reference_path, Span(), skeleton, source.fps)
    num_coordinates = pose.points_TPJC.shape[3], reference.points_TPJC.shape[3]
    if pose.layout != reference.layout or num_coordinates[0] != num_coordinates[1]:
        raise InputError(
            f"`{reference_path}` does not have the same points as `{file}`, so they cannot be"
            " compared;"
            " give a file with the same skeleton and the same number of coordinates"
        )
    return SkeletonMotion(pose, reference)


def get_raw_file_filter(recipe: Recipe) -> Callable[[Path], bool]:
    """Return the predicate that accepts the files which the model can translate."""
    return _FILE_FILTERS[recipe.corpora[0].kind]


def describe_raw_files(recipe: Recipe) -> str:
    """Describe the kind of files that the model can translate, for messages."""
    return _FILE_DESCRIPTIONS[recipe.corpora[0].kind]


def get_main_file_column(recipe: Recipe) -> tuple[str, str]:
    """Return the request column for the bytes of a file, and the suffix of such files."""
    return _FILE_COLUMNS[recipe.corpora[0].kind]


# Request column for the bytes of the motion that a motion is compared with.
REFERENCE_COLUMN = "reference"


def get_all_file_columns(recipe: Recipe) -> tuple[str, ...]:
    """Return the request columns for the bytes of all files of a clip."""
    uses_reference = getattr(recipe.features, "reference", None) is not None
    return (get_main_file_column(recipe)[0], *([REFERENCE_COLUMN] * uses_reference))


def get_feature_columns(streams: Iterable[str]) -> dict[str, str]:
    """Return stream → request column for its features as numbers."""
    first, *others = streams
    return (
        {name: f"features_{name}" for name in (first, *others)} if others else {first: "features"}
    )


_SPAN_ERROR = "`{}` contains features, which can be translated only as a whole; remove the span"
# Kind of the source → predicate for files that the model can translate.
_FILE_FILTERS: dict[str, Callable[[Path], bool]] = {
    "pose_tsv": lambda path: path.suffix == POSE_SUFFIX,
    "video_tsv": lambda path: has_images(path) if path.is_dir() else is_video_file(path.name),
    "feature_manifest": lambda path: path.suffix == FEATURE_SUFFIX,
    "h5_shards": lambda path: path.suffix == SHARD_SUFFIX,
    "skeletons": lambda path: path.suffix in MOTION_SUFFIXES,
}
_FILE_DESCRIPTIONS = {
    "pose_tsv": f"`{POSE_SUFFIX}` files",
    "video_tsv": "videos",
    "feature_manifest": f"`{FEATURE_SUFFIX}` files",
    "h5_shards": f"`{SHARD_SUFFIX}` files with one dataset per stream",
    "skeletons": f"files with one motion ({', '.join(MOTION_SUFFIXES)})",
}
# Kind of the source → suffixes of files that are certainly of another kind. Files with unknown
# suffixes are tried; their reader reports the problem.
_REJECTED_SUFFIXES: dict[str, tuple[str, ...]] = {
    "pose_tsv": (FEATURE_SUFFIX, SHARD_SUFFIX, *VIDEO_SUFFIXES),
    "video_tsv": (FEATURE_SUFFIX, SHARD_SUFFIX, POSE_SUFFIX),
    "feature_manifest": (POSE_SUFFIX, SHARD_SUFFIX, *VIDEO_SUFFIXES),
    "h5_shards": (POSE_SUFFIX, FEATURE_SUFFIX, *VIDEO_SUFFIXES),
    "skeletons": (FEATURE_SUFFIX, SHARD_SUFFIX, *VIDEO_SUFFIXES),
}
# Kind of the source → request column for the bytes of a file, and the suffix of such files.
_FILE_COLUMNS = {
    "pose_tsv": ("pose", POSE_SUFFIX),
    "video_tsv": ("video", ".mp4"),
    "feature_manifest": ("tensor", FEATURE_SUFFIX),
    "h5_shards": ("shard", SHARD_SUFFIX),
    "skeletons": ("motion", MOTION_SUFFIXES[0]),
}
