"""The clips of one motion: captions of the same frames are the texts of one clip.

A caption of the whole motion belongs to a clip with the id of the motion; one with times to a clip
`ID@start-end`, whose bounds are frames. Times become frames as in the published data loaders: cut
off to whole frames, and cut at the end of the motion.
"""

from dataclasses import dataclass, field

from kinesweep.sources.prepare.motions.caption_lines import CaptionFile, CaptionLine
from kinesweep.sources.prepare.motions.motion_corpora import MotionCorpus, MotionSettings
from kinesweep.sources.prepare.motions.motion_frames import MotionFrames
from kinesweep.sources.prepare.motions.motion_lists import ListedMotion
from kinesweep.sources.prepare.split_annotations import DroppedRow

_MAX_TIME_S = 1e9
"""Time in seconds that later times are taken for; a century has 3e9."""


@dataclass(frozen=True)
class MotionClip:
    """A motion or a part of it, with its texts.

    Attributes:
        id: Id of the clip.
        motion: Motion of the lists.
        start: First frame.
        end: Frame after the last one.
        is_whole: Whether these are all frames of the motion.
        texts: Texts in the order of the file.
    """

    id: str
    motion: ListedMotion
    start: int
    end: int
    is_whole: bool
    texts: tuple[str, ...]


@dataclass
class MotionClips:
    """The clips of one motion, and the lines that belong to none.

    Attributes:
        clips: The clip of the whole motion first.
        dropped: Lines of the texts that were dropped.
        num_cut: Number of captions that end after the motion.
    """

    clips: list[MotionClip] = field(default_factory=list)
    dropped: list[DroppedRow] = field(default_factory=list)
    num_cut: int = 0


def build_motion_clips(
    motion: ListedMotion,
    captions: CaptionFile,
    frames: MotionFrames,
    corpus: MotionCorpus,
    settings: MotionSettings,
) -> MotionClips:
    """Build the clips of a motion whose length is within the limits.

    Args:
        motion: Motion of the lists.
        captions: Captions of the motion.
        frames: Frames of the motion.
        corpus: Corpus with the frame rate.
        settings: Limits of lengths and form of the texts.
    """
    found = MotionClips(dropped=list(captions.dropped))
    texts_by_span: dict[tuple[int, int], list[str]] = {}
    for line in captions.lines:
        start, end = _find_frames(line, corpus.fps, frames.count)
        text = line.caption if settings.texts == "captions" else line.words
        problem = _find_problem(line, text, (start, end), frames, settings, corpus)
        if problem is not None:
            found.dropped.append(problem)
            continue
        found.num_cut += end > frames.count
        texts_by_span.setdefault((start, min(end, frames.count)), []).append(text)
    # The whole motion first, then its parts in order of time.
    for (start, end), texts in sorted(
        texts_by_span.items(), key=lambda item: (item[0] != (0, frames.count), item[0])
    ):
        is_whole = (start, end) == (0, frames.count)
        clip_id = motion.id if is_whole else f"{motion.id}@{start}-{end}"
        found.clips.append(MotionClip(clip_id, motion, start, end, is_whole, tuple(texts)))
    return found


def find_length_problem(num_frames: int, corpus: MotionCorpus, settings: MotionSettings) -> str:
    """Find the reason why a number of frames is outside the limits.

    Args:
        num_frames: Number of frames of a motion or of a part of it.
        corpus: Corpus with its shortest motion.
        settings: Limits, of which the shortest may be that of the corpus.

    Returns:
        `too_short`, `too_long` or, within the limits, an empty text.
    """
    min_frames = corpus.min_frames if settings.min_frames is None else settings.min_frames
    if num_frames < min_frames:
        return "too_short"
    return "too_long" if num_frames > settings.max_frames else ""


def _find_frames(line: CaptionLine, fps: float, num_frames: int) -> tuple[int, int]:
    """Find the first frame of a caption and the frame after its last one, before any cut.

    Args:
        line: Caption with its times in seconds.
        fps: Frame rate in frames per second.
        num_frames: Number of frames of the whole motion.
    """
    if line.is_whole:
        return 0, num_frames
    # Not rounded: the published loaders cut off, and captions of equal frames share a clip. The
    # limit keeps the product finite, which `int` needs; no motion is that long.
    start, end = (int(min(time, _MAX_TIME_S) * fps) for time in (line.start_s, line.end_s))
    return start, end


def _find_problem(
    line: CaptionLine,
    text: str,
    span: tuple[int, int],
    frames: MotionFrames,
    settings: MotionSettings,
    corpus: MotionCorpus,
) -> DroppedRow | None:
    """Return the dropped row of a caption that belongs to no clip, or None.

    Args:
        line: Line of the caption.
        text: Text of the clip.
        span: First frame and the frame after the last one.
        frames: Frames of the motion.
        settings: Limits of lengths.
        corpus: Corpus with its limits.
    """
    start, end = span
    if not text:
        return DroppedRow(line.row, "no_words", "the line has no tokens; see `--texts captions`")
    if start >= frames.count:
        problem = f"starts at frame {start}, but the motion has {frames.count} frames"
        return DroppedRow(line.row, "span_beyond_file", problem)
    if end <= start:
        problem = f"starts at frame {start} and ends at frame {end}"
        return DroppedRow(line.row, "end_before_start", problem)
    is_valid_T = frames.is_valid_T[start:end]
    reason = find_length_problem(len(is_valid_T), corpus, settings)
    if reason:
        return DroppedRow(line.row, reason, f"{len(is_valid_T)} frames")
    if not is_valid_T.all():
        problem = f"{(~is_valid_T).sum()} frames have values that are not numbers"
        return DroppedRow(line.row, "nan_frames", problem)
    return None
