"""Spans that are too short for a sign raise a doubt about the unit of their times."""

import numpy as np

from kinesweep.core.clip import Clip
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.units import Span
from kinesweep.features.quality.corpus_findings import find_quality_warnings
from kinesweep.features.quality.media_statistics import MediaStatistics, compute_media_statistics

ONE_POINT = PointLayout((("BODY", ("NOSE",)),))


def clip_of(number: int, frames: int, span: Span) -> tuple[Clip, MediaStatistics]:
    x = np.random.default_rng(number).normal(size=(frames, 1, 1, 3)).astype(np.float32)
    statistics = compute_media_statistics(
        PoseSequence(x, np.ones((frames, 1, 1), np.float32), 25.0, ONE_POINT)
    )
    assert statistics is not None
    return Clip(str(number), "train", "a.pose", span, row=f"train.tsv:{number + 2}"), statistics


def kinds_of(items: list[tuple[Clip, MediaStatistics]]) -> list[str]:
    return [warning.kind for warning in find_quality_warnings(items)]


def test_numbers_of_frames_in_milliseconds() -> None:
    """0 to 75 and 75 to 160, read as milliseconds, are 2 frames each at 25 a second."""
    short = [clip_of(n, 2, Span.from_ms(75 * n, 75 * n + 80)) for n in range(6)]
    assert kinds_of(short) == ["short_spans"]
    assert kinds_of(short[:4]) == []  # too few to tell


def test_legal_spans() -> None:
    """Single signs of 0.4 s, whole files, and spans that are stated in frames."""
    assert kinds_of([clip_of(n, 10, Span.from_ms(400 * n, 400 * n + 400)) for n in range(6)]) == []
    assert kinds_of([clip_of(n, 2, Span()) for n in range(6)]) == []
    assert kinds_of([clip_of(n, 2, Span.from_frames(2 * n + 1, 2 * n + 3)) for n in range(6)]) == []
