"""Findings about a corpus of poses: what may be wrong although every clip can be read.

They are warnings, not errors. The constants say from when on, and why.
"""

from collections.abc import Sequence
from itertools import groupby
from statistics import median

from kinesweep.core.clip import CorpusWarning
from kinesweep.features.quality.media_statistics import MediaStatistics
from kinesweep.features.quality.split_quality import (
    ClipStatistics,
    SplitQuality,
    compute_quality,
    has_zeros,
)
from kinesweep.sources.video.frame_rate import (
    MAX_PLAUSIBLE_FPS,
    MIN_PLAUSIBLE_FPS,
    is_plausible_rate,
)

CUT_FPS = {23: 24000 / 1001, 29: 30000 / 1001, 47: 48000 / 1001, 59: 60000 / 1001, 119: 119.88}
"""Whole rates that hardly any camera has → NTSC rate from which they were cut."""
MIN_DETECTION_SHARES = {"person": 0.9, "face": 0.5, "left_hand": 0.5, "right_hand": 0.5}
"""Part → smallest share of frames without a warning. Signers are almost always in the picture;
their hands blur, rest or leave it, but 26 How2Sign clips show them in 0.87 and 0.92
of the frames."""
_CONFIDENCE_LIKE_SHARE = 0.9
"""Share of a split's clips from which a third coordinate is reported as a likely confidence."""
_MIN_MEDIAN_SPAN_S, _MIN_SPANS = 0.2, 5
"""Median length of spans in seconds below which, and number of spans from which on, their unit is
doubted: the shortest signs last about 0.2 s, sentences for seconds."""
_CLIP_KINDS = ("implausible_rate", "cut_rate", "constant_points", "zeros_with_confidence")


def find_quality_warnings(items: Sequence[ClipStatistics]) -> list[CorpusWarning]:
    """Find what may be wrong in a corpus although every clip can be read.

    Args:
        items: Clips with their statistics, in the order of the corpus.

    Returns:
        The warnings about clips, then those about splits and about the corpus, grouped by kind.
    """
    warnings = [
        CorpusWarning(clip.row, kind, f"clip `{clip.id}` {text}")
        for clip, statistics in items
        for kind, text in find_clip_findings(statistics)
    ]
    # Stable, so the warnings of a kind keep the order of the corpus.
    warnings.sort(key=lambda warning: _CLIP_KINDS.index(warning.kind))
    for split, quality in compute_quality(items).items():
        warnings += _find_low_detection(split, quality)
        warnings += _find_confidence_like(split, [s for clip, s in items if clip.split == split])
        warnings += _find_other_people(split, [item for item in items if item[0].split == split])
        warnings += _find_short_spans(split, [item for item in items if item[0].split == split])
    return warnings


def find_clip_findings(statistics: MediaStatistics) -> list[tuple[str, str]]:
    """Find what may be wrong with one clip: pairs of a kind and a clause about the clip."""
    return [
        *find_rate_findings(statistics.fps, statistics.has_whole_fps),
        *_find_constant_points(statistics),
        *_find_zeros(statistics),
    ]


def find_rate_findings(fps: float, has_whole_fps: bool) -> list[tuple[str, str]]:
    """Find what may be wrong with a frame rate: pairs of a kind and a clause about the clip.

    Args:
        fps: Frame rate in frames per second.
        has_whole_fps: Whether the file can store whole frame rates only.
    """
    if not is_plausible_rate(fps):
        text = (
            f"has {fps:g} frames a second; plausible are {MIN_PLAUSIBLE_FPS:g} to"
            f" {MAX_PLAUSIBLE_FPS:g}. State the right rate with `source.fps`, or correct the file"
        )
        return [("implausible_rate", text)]
    # Versions of `.pose` before 0.2 store the rate as a 16-bit whole number.
    if has_whole_fps and fps in CUT_FPS:
        text = (
            f"has {fps:g} frames a second in a version of `.pose` that stores whole rates only; it"
            f" was almost certainly {CUT_FPS[int(fps)]:.3f}, which moves a span by"
            f" {abs(CUT_FPS[int(fps)] / fps - 1) * 60:.1f} s in a minute. State the right rate with"
            " `source.fps`, or write the files again in version 0.2"
        )
        return [("cut_rate", text)]
    return []


def format_warning_lines(warnings: Sequence[CorpusWarning], max_rows: int = 5) -> list[str]:
    """Format warnings as lines of text, at most `max_rows` of a kind and the number of others."""
    lines = []
    ordered = sorted(warnings, key=lambda warning: warning.kind)
    for kind, group in groupby(ordered, key=lambda warning: warning.kind):
        of_kind = list(group)
        lines += [f"{item.row}  warning: {kind}  {item.message}" for item in of_kind[:max_rows]]
        if len(of_kind) > max_rows:
            lines.append(f"warning: {kind}  and {len(of_kind) - max_rows} more rows")
    return lines


def _find_constant_points(statistics: MediaStatistics) -> list[tuple[str, str]]:
    """Find points of a clip that never move, which is no detection but a filled-in value."""
    if not statistics.num_constant_points:
        return []
    text = (
        f"has {statistics.num_constant_points} point(s) that never move in"
        f" {statistics.num_frames} frames although they count as detected; give points that were"
        " not found a confidence of 0, or estimate the poses again"
    )
    return [("constant_points", text)]


def _find_zeros(statistics: MediaStatistics) -> list[tuple[str, str]]:
    """Find detections of a clip at the origin, where points that were not found are often put."""
    if not has_zeros(statistics):
        return []
    share = statistics.num_zeros / statistics.num_detections
    with_confidence = "with a confidence above 0" if statistics.has_confidence else "as detections"
    text = (
        f"has {share:.1%} of its points at the origin {with_confidence}; points that were not found"
        " must have confidence 0 (`.pose` files, or `source.third: confidence`)"
    )
    return [("zeros_with_confidence", text)]


def _find_low_detection(split: str, quality: SplitQuality) -> list[CorpusWarning]:
    """Find parts of the body that are detected in too few frames of a split."""
    return [
        CorpusWarning(
            split,
            "low_detection",
            f"the {part.replace('_', ' ')} is detected in {quality.detection[part]:.1%} of the"
            f" frames of {split}, which is below {limit:.0%}; look at some clips (`kinesweep show"
            " --clip`), and estimate the poses again or choose other points",
        )
        for part, limit in MIN_DETECTION_SHARES.items()
        if quality.detection.get(part, 1.0) < limit
    ]


def _find_confidence_like(split: str, statistics: Sequence[MediaStatistics]) -> list[CorpusWarning]:
    """Find a split whose third coordinates are probably confidences."""
    num_alike = sum(clip.has_third_in_unit_range for clip in statistics)
    if not num_alike or num_alike < _CONFIDENCE_LIKE_SHARE * len(statistics):
        return []
    text = (
        f"the third coordinate lies between 0 and 1 in {num_alike} of {len(statistics)} clips of"
        f" {split}, like a confidence, but it is read as z; state `source.third: confidence` if it"
        " is one"
    )
    return [CorpusWarning(split, "third_looks_like_confidence", text)]


def _find_short_spans(split: str, items: Sequence[ClipStatistics]) -> list[CorpusWarning]:
    """Find a split whose spans in milliseconds are so short that they may be numbers of frames."""
    lengths_s = [
        statistics.num_frames / statistics.fps
        for clip, statistics in items
        if clip.span.unit == "ms" and clip.span.end is not None
    ]
    # The median, because a few very short spans are common among correct ones.
    if len(lengths_s) < _MIN_SPANS or median(lengths_s) >= _MIN_MEDIAN_SPAN_S:
        return []
    text = (
        f"half of the {len(lengths_s)} spans of {split} are at most {median(lengths_s):.3g} s long;"
        " if the times of the table are numbers of frames, set `source.time_unit: frames`"
    )
    return [CorpusWarning(split, "short_spans", text)]


def _find_other_people(split: str, items: Sequence[ClipStatistics]) -> list[CorpusWarning]:
    """Find a split with clips that show several people, of whom only one is read."""
    crowded = [(clip, statistics) for clip, statistics in items if statistics.num_people > 1]
    if not crowded:
        return []
    clip, statistics = crowded[0]
    text = (
        f"{len(crowded)} of {len(items)} clips of {split} show several people, such as"
        f" `{clip.id}` ({clip.row}) with {statistics.num_people}, of whom `source.person` chooses"
        " one; make sure that it is the signer"
    )
    return [CorpusWarning(split, "several_people", text)]
