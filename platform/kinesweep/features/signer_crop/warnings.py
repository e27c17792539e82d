"""Warnings about clips whose signer was not found, but which are kept."""

from collections.abc import Iterable, Sequence

from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.features.signer_crop import SignerCropConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.clip import Clip, CorpusWarning
from kinesweep.core.errors import ClipError
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.signer_crop.segment_poses import SegmentPoses
from kinesweep.features.signer_crop.signer_squares import NO_SIGNER, SignerSquares
from kinesweep.sources.base import Source
from kinesweep.sources.video.frame_reader import FrameReader
from kinesweep.sources.video.video_warnings import find_corpus_video_warnings

_KEPT = {"whole": "its whole frames are used", "center": "the center of its frames is used"}


def get_signer_crop(features: object) -> SignerCropConfig | None:
    """Return the crop around the signer of video features or frames; None for other features."""
    if isinstance(features, VideoFeaturesConfig | FramesFeaturesConfig):
        return features.crop
    return None


def find_signer_warnings(
    segment: VideoSegment, config: SignerCropConfig | None
) -> list[tuple[str, str]]:
    """Find whether a segment is kept although no signer was found in it.

    Returns:
        The kind `no_signer` and a message, or nothing.

    Raises:
        ClipError: If the segment cannot be read.
    """
    if config is None or config.missing == "drop":
        return []
    frames = FrameReader(segment, None)
    poses = SegmentPoses(segment.pose_path, frames) if segment.pose_path is not None else None
    squares = SignerSquares(segment, frames, poses, config)
    squares.find()
    # The decoder holds the file open, and a corpus has thousands of them.
    frames.close()
    if squares.is_found:
        return []
    message = f"no signer was found in `{segment.path}`: {_KEPT[config.missing]}"
    return [(NO_SIGNER, message)]


def find_corpus_signer_warnings(
    source: Source, clips: Iterable[Clip], features: object
) -> list[CorpusWarning]:
    """Find the clips of a corpus that are kept although no signer was found in them.

    Boxes of a detector are read from the state folder, if they were computed on this machine.

    Args:
        source: Corpus of videos.
        clips: Clips that can be read.
        features: Section `features` of the recipe.
    """
    config = get_signer_crop(features)
    if config is None or config.missing == "drop":
        return []
    warnings: list[CorpusWarning] = []
    for clip in clips:
        media = source.read(clip)
        assert isinstance(media, VideoSegment)
        try:
            found = find_signer_warnings(media, config)
        except ClipError:
            continue  # the file has changed since; whatever reads it next reports that
        warnings += [CorpusWarning(clip.row, kind, message) for kind, message in found]
    return warnings


def find_checked_warnings(
    source: Source, clips: Sequence[Clip], features: object, detect: bool = True
) -> list[CorpusWarning]:
    """Find doubts about the rates and the signers of the videos of a corpus.

    Args:
        source: Corpus of videos.
        clips: Clips that can be read.
        features: Section `features` of the recipe.
        detect: Whether a detector may run; crops by poses need none.

    Raises:
        ClipError: If a video cannot be opened.
    """
    config = get_signer_crop(features)
    warnings = find_corpus_video_warnings(source, clips)
    if config is not None and (detect or config.detector is None):
        warnings += find_corpus_signer_warnings(source, clips, features)
    return warnings
