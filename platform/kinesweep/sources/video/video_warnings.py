"""Warnings about the frame rates of videos, which do not make a clip unusable."""

from collections.abc import Iterable

from kinesweep.core.clip import Clip, CorpusWarning
from kinesweep.core.errors import ClipError
from kinesweep.core.video_files import VideoSegment
from kinesweep.sources.base import Source
from kinesweep.sources.video.frame_rate import (
    MAX_PLAUSIBLE_FPS,
    MAX_RATE_DIFFERENCE,
    MIN_PLAUSIBLE_FPS,
    is_plausible_rate,
)
from kinesweep.sources.video.video_file import VideoError
from kinesweep.sources.video.video_reader import read_source_times
from kinesweep.sources.video.video_times import VideoTimes

IMPLAUSIBLE_RATE = "implausible_rate"
CONTRADICTORY_RATE = "contradictory_rate"


def find_video_warnings(segment: VideoSegment) -> list[tuple[str, str]]:
    """Find doubts about the frame rate of a segment's video; no frame is decoded.

    A video whose rate the recipe states (`source.fps`) has none. One that declares its mean rate
    has none either, even if its rate varies: its frames are chosen by their time stamps.

    Returns:
        Pairs of a kind, `implausible_rate` or `contradictory_rate`, and a message that names the
        file.

    Raises:
        ClipError: If the file cannot be opened or contains no frames, with a reason of
            `VideoReader`.
    """
    if segment.fps is not None or segment.path.is_dir():
        return []
    try:
        times = read_source_times(segment.path, None)
    except VideoError as error:
        raise ClipError(f"`{segment.path}`: {error}", error.reason) from None
    declared = f"`{segment.path}` declares {times.declared_fps:g} frames per second"
    advice = (
        f"its frames are chosen by their time stamps at {times.fps:g} fps; state another rate as"
        " `source.fps` if this is wrong"
    )
    allowed = f"not between {MIN_PLAUSIBLE_FPS:g} and {MAX_PLAUSIBLE_FPS:g}"
    if not is_plausible_rate(times.declared_fps):
        return [(IMPLAUSIBLE_RATE, f"{declared}, which is {allowed}: {advice}")]
    if not is_plausible_rate(times.measured_fps or times.fps):
        message = f"`{segment.path}` shows {times.measured_fps:g} frames per second, {allowed}"
        return [(IMPLAUSIBLE_RATE, f"{message}: {advice}")]
    if _is_contradictory(times):
        message = f"{declared}, but shows {times.measured_fps:g}: {advice}"
        return [(CONTRADICTORY_RATE, message)]
    return []


def find_corpus_video_warnings(source: Source, clips: Iterable[Clip]) -> list[CorpusWarning]:
    """Find doubts about the frame rates of the videos of a corpus, once for each file.

    Args:
        source: Corpus of videos.
        clips: Clips whose videos can be opened.

    Raises:
        ClipError: If a video cannot be opened.
    """
    warnings: list[CorpusWarning] = []
    examined_paths = set()
    for clip in clips:
        media = source.read(clip)
        # Many clips share a file, and to examine one may take a pass over its time stamps.
        if not isinstance(media, VideoSegment) or media.path in examined_paths:
            continue
        examined_paths.add(media.path)
        warnings += [
            CorpusWarning(clip.row, kind, message) for kind, message in find_video_warnings(media)
        ]
    return warnings


def _is_contradictory(times: VideoTimes) -> bool:
    """Return whether the declared rate differs from the measured one by more than rounding.

    That is more than 2 %, and more than one frame over the whole file.
    """
    if not times.measured_fps or times.num_file_frames < 2:
        return False
    difference = abs(times.declared_fps / times.measured_fps - 1)
    return difference > MAX_RATE_DIFFERENCE and difference * (times.num_file_frames - 1) > 1
