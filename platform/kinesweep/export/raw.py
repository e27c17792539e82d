"""Raw files as a bundle's feature step takes them: poses, videos, or features from elsewhere."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.core.media import VIDEOS, Footage, holds_pictures, is_video
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.skeletons import SkeletonsConfig
from kinesweep.core.recipe.video import VideoFeaturesConfig
from kinesweep.core.skeleton import SKELETONS
from kinesweep.core.units import Span
from kinesweep.sources import read_pose
from kinesweep.sources.contract import Media, Motion
from kinesweep.sources.feature_file import FEATURE_SUFFIX, read_features
from kinesweep.sources.motion_file import MOTION_SUFFIXES, read_alone
from kinesweep.sources.pose_rows import POSE_SUFFIX, pose_of
from kinesweep.sources.shard_map import SHARD_SUFFIX


@dataclass(frozen=True)
class Input:
    """One clip to translate.

    Attributes:
        file: a `.pose` file or a video, whichever the model was trained on; or a `.pt` file.
        span: the part of it that is meant.
        encoder_prompt: before the frames; None: the bundle's.
        decoder_prompt: that the text begins with; None: the bundle's.
        document: clips of one are context of those after them; empty: it stands alone.
        order: place within the document; of equals, the first in the list comes first.
        reference: the motion that it is compared with, a file of its own; None: itself.
        media: reads a row of motions, its reference too; None: `file` is read.
        compared: whether that has a reference.
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
        """Whether nothing is named that it is compared with."""
        return self.reference is None and not self.compared


def open_raw(recipe: Recipe, file: Path, span: Span, beside: Path | None = None) -> Media:
    """A raw file as the source of a recipe would read it.

    Args:
        recipe: of the bundle.
        file: poses, a video or features.
        span: which part.
        beside: a video's poses, where crops are seen, default: those that lie beside it; or the
            motion that a motion is compared with, default: itself.

    Raises:
        ClipError: it cannot be read; it is named.
        InputError: a file of another kind, a span of features that is not all of them, a video
            without its poses, or a reference of other points.
    """
    source = recipe.corpora[0]
    if file.suffix.lower() in _OTHERS[source.kind]:
        raise InputError(f"`{file}`: this model translates {kind_of_raw(recipe)}")
    if source.kind == "pose_tsv":
        return read_pose(file, span, source.person)
    if source.kind == "video_tsv":
        fps = source.fps if file.is_dir() else None
        return Footage(file, span, fps, beside or _pose_beside(recipe, file))
    if isinstance(source, SkeletonsConfig):
        return _motion(source, file, span, beside)
    if source.kind == "h5_shards":
        if not span.whole:
            raise InputError(_ONLY_ALL.format(file))
        from kinesweep.sources.h5_shards import read_streams  # HDF5: only where it is needed

        return read_streams(file, source.of(recipe.streams))
    if span.start is not None or (span.end is not None and span.unit != "frames"):
        raise InputError(_ONLY_ALL.format(file))
    return read_features(file, source.fps, span.end)


def _pose_beside(recipe: Recipe, video: Path) -> Path | None:
    """The poses of a video that a model sees crops of; None: it sees frames as they are.

    Raises:
        InputError: they are not there.
    """
    if not isinstance(recipe.features, VideoFeaturesConfig) or not recipe.features.cropped:
        return None
    path = Path(pose_of(str(video)))
    if not path.is_file():
        raise InputError(
            f"`{video}` is seen in crops ({', '.join(recipe.features.crops)}), whose places its"
            f" poses tell, but `{path}` does not exist; run `kinesweep estimate {video.parent}"
            f" --out {video.parent}` first"
        )
    return path


def _motion(source: SkeletonsConfig, file: Path, span: Span, beside: Path | None) -> Motion:
    """A motion, and that which it is compared with.

    Raises:
        ClipError: one of them cannot be read.
        InputError: they have not the same points.
    """
    skeleton = SKELETONS[source.skeleton]
    pose = read_alone(file, span, skeleton, source.fps)
    if beside is None:
        return Motion(pose)
    reference = read_alone(beside, Span(), skeleton, source.fps)
    dims = pose.points_TPJC.shape[3], reference.points_TPJC.shape[3]
    if pose.layout != reference.layout or dims[0] != dims[1]:
        raise InputError(
            f"`{beside}` has not the points of `{file}`, which it is to be compared with; give a"
            " file of the same skeleton and as many coordinates"
        )
    return Motion(pose, reference)


def is_raw(recipe: Recipe) -> Callable[[Path], bool]:
    """Tells which files below a folder are meant to be translated."""
    return _MEANT[recipe.corpora[0].kind]


def kind_of_raw(recipe: Recipe) -> str:
    """The same in words."""
    return _WORDS[recipe.corpora[0].kind]


def file_of_raw(recipe: Recipe) -> tuple[str, str]:
    """What a file's bytes are called where they are sent, and the suffix that they had."""
    return _SENT[recipe.corpora[0].kind]


REFERENCE = "reference"
"""What the bytes of the motion are called, where they are sent, that a motion is compared with."""


def files_of_raw(recipe: Recipe) -> tuple[str, ...]:
    """What the bytes of all files are called that a model reads of a clip."""
    compares = getattr(recipe.features, "reference", None) is not None
    return (file_of_raw(recipe)[0], *([REFERENCE] * compares))


def columns_of(streams: Iterable[str]) -> dict[str, str]:
    """Stream → what its features are called where they are sent as numbers."""
    first, *others = streams
    return (
        {name: f"features_{name}" for name in (first, *others)} if others else {first: "features"}
    )


_ONLY_ALL = "`{}` holds features, of which only all can be translated"
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
    "h5_shards": f"`{SHARD_SUFFIX}` files with a data set for each stream",
    "skeletons": f"files of one motion ({', '.join(MOTION_SUFFIXES)})",
}
_OTHERS: dict[str, tuple[str, ...]] = {
    "pose_tsv": (FEATURE_SUFFIX, SHARD_SUFFIX, *VIDEOS),
    "video_tsv": (FEATURE_SUFFIX, SHARD_SUFFIX, POSE_SUFFIX),
    "feature_manifest": (POSE_SUFFIX, SHARD_SUFFIX, *VIDEOS),
    "h5_shards": (POSE_SUFFIX, FEATURE_SUFFIX, *VIDEOS),
    "skeletons": (FEATURE_SUFFIX, SHARD_SUFFIX, *VIDEOS),
}
"""Kind of the corpus → files that are of another kind for sure."""
_SENT = {
    "pose_tsv": ("pose", POSE_SUFFIX),
    "video_tsv": ("video", ".mp4"),
    "feature_manifest": ("tensor", FEATURE_SUFFIX),
    "h5_shards": ("shard", SHARD_SUFFIX),
    "skeletons": ("motion", MOTION_SUFFIXES[0]),
}
