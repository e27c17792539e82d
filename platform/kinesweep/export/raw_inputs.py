"""Raw inputs of a bundle: read poses, videos, motions or features for its feature step.

The kind of file depends on the corpus that the model was trained on. If there were several, they
are of one kind, and files are read in the same way as those of the first (see `raw_file_kinds`).
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.config.parts import SourcePart
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.h5_shards import StreamsFeaturesConfig
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.source import FeaturesConfig, PoseTsvConfig, SingleSourceConfig
from kinesweep.config.recipe.sources.image_tsv import ImageTsvConfig
from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.schema import RATE_TOLERANCE
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.tables.text_encoding import decode_text
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.export.estimated_motions import is_video, read_motion, reads_videos
from kinesweep.export.raw_file_kinds import get_raw_file_kind
from kinesweep.features.quality.corpus_findings import find_rate_findings
from kinesweep.sources import read_pose
from kinesweep.sources.base import Media, SourceImage, SourceText
from kinesweep.sources.images.image_file import read_image
from kinesweep.sources.part_source import build_source_part
from kinesweep.sources.precomputed.feature_files import read_feature_file
from kinesweep.sources.precomputed.pt_features import read_features
from kinesweep.sources.tsv.media_names import get_pose_path
from kinesweep.sources.video.frame_rate import is_plausible_rate
from kinesweep.sources.written.text_tsv import make_source_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Input:
    """One clip to translate.

    Attributes:
        file: Path of a pose, video, motion or feature file, whichever the model was trained on.
        span: Part of the file to translate; the whole file by default.
        encoder_prompt: Prompt in front of the frames; None selects the bundle's default.
        decoder_prompt: Prefix of the output text; None selects the bundle's default.
        document: Name of the document that the clip is part of. The texts of earlier clips of a
            document are context for later ones; a clip with an empty name has no context.
        order: Position within the document; clips with equal positions keep the order of the list.
        auxiliary_file: Path of a second file: the reference motion with which the motion is
            compared, or the poses of a video with crops. None compares the motion with itself, or
            takes the poses next to the video.
        read_media: Function that reads a row of a motion table, with its reference motion if the
            row has one; None reads `file` instead.
        includes_reference_motion: Whether the media from `read_media` include a reference motion.
        streams: Stream → its own file and span, for a model with several parts of features; empty:
            all parts take their files from `file`.
    """

    file: Path
    span: Span = field(default_factory=Span)
    encoder_prompt: str | None = None
    decoder_prompt: str | None = None
    document: str = ""
    order: int = 0
    auxiliary_file: Path | None = None
    read_media: Callable[[], Media] | None = None
    includes_reference_motion: bool = False
    streams: Mapping[str, "Input"] = field(default_factory=dict)

    @property
    def is_compared_with_itself(self) -> bool:
        """Return whether the clip has no reference motion, so that it is compared with itself."""
        return self.auxiliary_file is None and not self.includes_reference_motion


def read_raw_file(
    source: SingleSourceConfig,
    features: FeaturesConfig,
    file: Path,
    span: Span,
    auxiliary_file: Path | None = None,
) -> Media:
    """Read a raw file in the same way as the source of the training data reads its files.

    Args:
        source: Corpus that the model was trained on; the first one if there were several.
        features: Features that are computed from the media; they determine which streams or poses
            are read.
        file: Path of a file with poses, a video, a motion or features.
        span: Part of the file to read.
        auxiliary_file: Path of a second file. For a video with crops: its poses, by default those
            next to it. For a motion: the reference motion, by default none.

    Raises:
        ClipError: If the file cannot be read; the message names it.
        InputError: If the file is of another kind, a span selects only a part of features, a video
            lacks its poses or a reference motion has other points.
    """
    is_film = reads_videos(source) and is_video(file)
    if file.suffix.lower() in get_raw_file_kind(source).rejected_suffixes and not is_film:
        raise InputError(f"`{file}`: this model translates {describe_raw_files(source)}")
    if isinstance(source, SourcePart):
        return build_source_part(source).read_file(file, span)
    if source.kind == "pose_tsv":
        return _read_poses(file, span, source)
    if source.kind == "video_tsv":
        pose_path = auxiliary_file or _find_pose_file(features, file)
        return VideoSegment(file, span, source.fps, pose_path)
    if isinstance(source, SkeletonsConfig):
        return read_motion(source, file, span, auxiliary_file)
    if isinstance(source, TextTsvConfig | SignWritingTsvConfig | ImageTsvConfig):
        return _read_untimed(source, file, span)
    if source.kind == "feature_tsv":
        return read_feature_file(file, span, source.fps, source.time_axis)
    if source.kind == "h5_shards":
        if not span.is_full:
            raise InputError(_SPAN_ERROR.format(file))
        from kinesweep.sources.precomputed.clip_h5_file import (
            read_streams,  # HDF5 is needed only here
        )

        assert isinstance(features, StreamsFeaturesConfig)
        return read_streams(file, source.select_streams(features.streams))
    # An end in frames is the length stated by the manifest; `read_features` checks it.
    if span.start is not None or (span.end is not None and span.unit != "frames"):
        raise InputError(_SPAN_ERROR.format(file))
    return read_features(file, source.fps, span.end)


def _read_untimed(
    source: TextTsvConfig | SignWritingTsvConfig | ImageTsvConfig, file: Path, span: Span
) -> SourceText | SourceImage:
    """Read a file with one image or one text.

    Args:
        source: Corpus that the model was trained on.
        file: Path of the file; a text is its whole content without the last line break.
        span: Part of the file, which must be the whole.

    Raises:
        ClipError: If the file cannot be read.
        InputError: If a span is given.
    """
    if not span.is_full:
        raise InputError(f"`{file}` has no times; remove the span")
    if isinstance(source, ImageTsvConfig):
        return SourceImage(read_image(file))
    try:
        text = decode_text(file.read_bytes()).removesuffix("\n")
    except FileNotFoundError:
        raise ClipError(f"`{file}` does not exist", "missing_file") from None
    except (OSError, ValueError) as error:
        raise ClipError(f"`{file}` cannot be read: {error}", "unreadable") from None
    return make_source_text(text, source)


def _find_pose_file(features: FeaturesConfig, video: Path) -> Path | None:
    """Find the pose file next to a video if the features use crops.

    Args:
        features: Features that are computed from the video.
        video: Path of the video.

    Returns:
        Path of the pose file; None if the features do not use crops.

    Raises:
        InputError: If the features use crops, but the pose file does not exist.
    """
    if not isinstance(features, VideoFeaturesConfig | FramesFeaturesConfig):
        return None
    if not features.uses_poses:
        return None
    path = Path(get_pose_path(str(video)))
    if not path.is_file():
        raise InputError(
            f"the model uses crops ({_list_crops(features)}) of `{video}`, whose"
            f" positions come from its poses, but `{path}` does not exist; run"
            f" `kinesweep estimate-poses {video.parent} --out {video.parent}` first"
        )
    return path


def _list_crops(features: VideoFeaturesConfig | FramesFeaturesConfig) -> str:
    """List the crops that poses locate, as text for a message."""
    crops = features.crops if isinstance(features, VideoFeaturesConfig) else ("whole",)
    whole_name = "whole" if features.crop is None else "signer"
    return ", ".join(whole_name if crop == "whole" else crop for crop in crops)


def _read_poses(file: Path, span: Span, source: PoseTsvConfig) -> PoseSequence:
    """Read a file of poses, and log doubts about its frame rate.

    Args:
        file: Path of the file.
        span: Part of the file to read.
        source: Corpus that the model was trained on; its `fps` replaces the rate of the file.

    Raises:
        ClipError: If the file cannot be read.
    """
    pose = read_pose(file, span, source.person, source.pose_fps)
    for kind, text in find_rate_findings(pose.fps, pose.has_whole_fps):
        logger.warning(f"{kind}: `{file}` {text}")
    if source.pose_fps is not None:
        # The corpus needed another rate than its files state, but this file may be right.
        with suppress(ClipError):  # a file may state no rate that can be used
            stated = read_pose(file, Span.from_frames(0, 1), source.person)
            is_cut = stated.has_whole_fps and stated.fps == int(pose.fps)  # 29 for 29.97
            is_other = abs(stated.fps / pose.fps - 1) > RATE_TOLERANCE and not is_cut
            if is_other and is_plausible_rate(stated.fps):
                logger.warning(
                    f"replaced_rate: `{file}` states {stated.fps:g} frames a second, but is read at"
                    f" {pose.fps:g}, as `source.fps` of the training data says"
                )
    return pose


def get_raw_file_filter(source: SingleSourceConfig) -> Callable[[Path], bool]:
    """Return the function that decides from a path whether the model can translate the file.

    For models of videos, it also accepts folders of images.
    """
    is_accepted = get_raw_file_kind(source).is_accepted
    if not reads_videos(source):
        return is_accepted
    return lambda path: is_accepted(path) or is_video(path)


def describe_raw_files(source: SingleSourceConfig) -> str:
    """Describe the kind of files that the model can translate, as a plural noun for messages."""
    description = get_raw_file_kind(source).description
    return f"{description} or videos" if reads_videos(source) else description


def get_file_column_and_suffix(source: SingleSourceConfig) -> tuple[str, str]:
    """Return the request column for the bytes of a raw file, and the suffix of such a file."""
    kind = get_raw_file_kind(source)
    return kind.column, kind.suffix


# Request column for the bytes of the reference motion.
REFERENCE_COLUMN = "reference"


def get_all_file_columns(source: SingleSourceConfig, features: FeaturesConfig) -> tuple[str, ...]:
    """Return the request columns for the bytes of all files of a clip, the raw file's first.

    Args:
        source: Corpus that the model was trained on.
        features: Features of the model; a second column is needed if they compare motions.
    """
    uses_reference_motion = getattr(features, "reference", None) is not None
    file_column, _ = get_file_column_and_suffix(source)
    return (file_column, *([REFERENCE_COLUMN] * uses_reference_motion))


def get_feature_columns(streams: Iterable[str]) -> dict[str, str]:
    """Return stream → request column for its features as numbers.

    Args:
        streams: Names of all feature streams of the model; a single one has the column `features`.
    """
    names = list(streams)
    if len(names) == 1:
        return {names[0]: "features"}
    return {name: f"features_{name}" for name in names}


_SPAN_ERROR = "`{}` contains features, which can be translated only as a whole; remove the span"
