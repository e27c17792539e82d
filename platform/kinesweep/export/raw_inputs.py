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
from kinesweep.core.video_files import VIDEOS, VideoSegment, holds_pictures, is_video
from kinesweep.sources import read_pose
from kinesweep.sources.base import Media, Motion
from kinesweep.sources.precomputed.pt_features import FEATURE_SUFFIX, read_features
from kinesweep.sources.precomputed.shard_index import SHARD_SUFFIX
from kinesweep.sources.skeletons.motion_file import MOTION_SUFFIXES, read_alone
from kinesweep.sources.tsv.tsv_rows import POSE_SUFFIX, pose_of


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
        media: Function that reads a row of a motion table including its reference; None reads
            `file` instead.
        compared: Whether `media` includes a reference.
    """

    file: Path
    span: Span = field(default_factory=Span)
    encoder_prompt: str | None = None
    decoder_prompt: str | None = None
    document: str = ""
    order: int = 0
    reference: Path | None = None
    media: Callable[[], Media] | None = None
    compared: bool = False

    @property
    def is_own_reference(self) -> bool:
        """Whether the clip has no reference and is compared with itself."""
        return self.reference is None and not self.compared


def open_raw(recipe: Recipe, file: Path, span: Span, beside: Path | None = None) -> Media:
    """Read a raw file as the source of a recipe would read it.

    Args:
        recipe: Recipe of the bundle.
        file: Path of a file with poses, a video, a motion or features.
        span: Part of the file.
        beside: Path of a second file. For a video with crops: its poses, by default those next to
            it. For a motion: the reference, by default the motion itself.

    Raises:
        ClipError: If the file cannot be read; the message names it.
        InputError: If the file is of another kind, a span selects only a part of features, a video
            lacks its poses or a reference has other points.
    """
    # A model trained on several corpora translates files like those of the first one.
    source = recipe.corpora[0]
    if file.suffix.lower() in _OTHERS[source.kind]:
        raise InputError(f"`{file}`: this model translates {kind_of_raw(recipe)}")
    if source.kind == "pose_tsv":
        return read_pose(file, span, source.person)
    if source.kind == "video_tsv":
        fps = source.fps if file.is_dir() else None
        return VideoSegment(file, span, fps, beside or _pose_beside(recipe, file))
    if isinstance(source, SkeletonsConfig):
        return _motion(source, file, span, beside)
    if source.kind == "h5_shards":
        if not span.is_full:
            raise InputError(_ONLY_ALL.format(file))
        from kinesweep.sources.precomputed.h5_shards import read_streams  # HDF5 is needed only here

        return read_streams(file, source.of(recipe.streams))
    # An end in frames is the length stated by the manifest; `read_features` checks it.
    if span.start is not None or (span.end is not None and span.unit != "frames"):
        raise InputError(_ONLY_ALL.format(file))
    return read_features(file, source.fps, span.end)


def _pose_beside(recipe: Recipe, video: Path) -> Path | None:
    """Return the pose file next to a video if the model uses crops, else None.

    Raises:
        InputError: If the pose file does not exist.
    """
    if not isinstance(recipe.features, VideoFeaturesConfig) or not recipe.features.cropped:
        return None
    path = Path(pose_of(str(video)))
    if not path.is_file():
        raise InputError(
            f"the model uses crops ({', '.join(recipe.features.crops)}) of `{video}`, whose"
            f" positions come from its poses, but `{path}` does not exist; run"
            f" `kinesweep estimate-poses {video.parent} --out {video.parent}` first"
        )
    return path


def _motion(source: SkeletonsConfig, file: Path, span: Span, beside: Path | None) -> Motion:
    """Read a motion and its reference.

    Raises:
        ClipError: If one of the files cannot be read.
        InputError: If the two motions have different points or numbers of coordinates.
    """
    skeleton = SKELETONS[source.skeleton]
    pose = read_alone(file, span, skeleton, source.fps)
    if beside is None:
        return Motion(pose)
    reference = read_alone(beside, Span(), skeleton, source.fps)
    dims = pose.points_TPJC.shape[3], reference.points_TPJC.shape[3]
    if pose.layout != reference.layout or dims[0] != dims[1]:
        raise InputError(
            f"`{beside}` does not have the same points as `{file}`, so they cannot be compared;"
            " give a file with the same skeleton and the same number of coordinates"
        )
    return Motion(pose, reference)


def is_raw(recipe: Recipe) -> Callable[[Path], bool]:
    """Return a predicate that selects the files in a folder that the model can translate."""
    return _MEANT[recipe.corpora[0].kind]


def kind_of_raw(recipe: Recipe) -> str:
    """Describe the files that the model can translate, for messages."""
    return _WORDS[recipe.corpora[0].kind]


def file_of_raw(recipe: Recipe) -> tuple[str, str]:
    """Return the request column for the bytes of a file, and the suffix of such files."""
    return _SENT[recipe.corpora[0].kind]


# Request column for the bytes of the motion that a motion is compared with.
REFERENCE = "reference"


def files_of_raw(recipe: Recipe) -> tuple[str, ...]:
    """Return the request columns for the bytes of all files of a clip."""
    compares = getattr(recipe.features, "reference", None) is not None
    return (file_of_raw(recipe)[0], *([REFERENCE] * compares))


def columns_of(streams: Iterable[str]) -> dict[str, str]:
    """Return stream → request column for its features as numbers."""
    first, *others = streams
    return (
        {name: f"features_{name}" for name in (first, *others)} if others else {first: "features"}
    )


_ONLY_ALL = "`{}` contains features, which can be translated only as a whole; remove the span"
# Kind of the source → predicate for files that the model can translate.
_MEANT: dict[str, Callable[[Path], bool]] = {
    "pose_tsv": lambda path: path.suffix == POSE_SUFFIX,
    "video_tsv": lambda path: holds_pictures(path) if path.is_dir() else is_video(path.name),
    "feature_manifest": lambda path: path.suffix == FEATURE_SUFFIX,
    "h5_shards": lambda path: path.suffix == SHARD_SUFFIX,
    "skeletons": lambda path: path.suffix in MOTION_SUFFIXES,
}
_WORDS = {
    "pose_tsv": f"`{POSE_SUFFIX}` files",
    "video_tsv": "videos",
    "feature_manifest": f"`{FEATURE_SUFFIX}` files",
    "h5_shards": f"`{SHARD_SUFFIX}` files with one dataset per stream",
    "skeletons": f"files with one motion ({', '.join(MOTION_SUFFIXES)})",
}
# Kind of the source → suffixes of files that are certainly of another kind. Files with unknown
# suffixes are tried; their reader reports the problem.
_OTHERS: dict[str, tuple[str, ...]] = {
    "pose_tsv": (FEATURE_SUFFIX, SHARD_SUFFIX, *VIDEOS),
    "video_tsv": (FEATURE_SUFFIX, SHARD_SUFFIX, POSE_SUFFIX),
    "feature_manifest": (POSE_SUFFIX, SHARD_SUFFIX, *VIDEOS),
    "h5_shards": (POSE_SUFFIX, FEATURE_SUFFIX, *VIDEOS),
    "skeletons": (FEATURE_SUFFIX, SHARD_SUFFIX, *VIDEOS),
}
# Kind of the source → request column for the bytes of a file, and the suffix of such files.
_SENT = {
    "pose_tsv": ("pose", POSE_SUFFIX),
    "video_tsv": ("video", ".mp4"),
    "feature_manifest": ("tensor", FEATURE_SUFFIX),
    "h5_shards": ("shard", SHARD_SUFFIX),
    "skeletons": ("motion", MOTION_SUFFIXES[0]),
}
