"""A span that its file does not hold is dropped with a reason; rounding is tolerated."""

from pathlib import Path

import pytest

from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.sources.frame_range import resolve_frame_range

FILE = Path("a.pose")

TOLERATED = [
    (Span.from_frames(0, 102), 25, 100, (0, 100)),
    (Span.from_ms(1000, 4080), 25, 100, (25, 100)),  # 2 frames at 25 fps
    (Span.from_ms(1000, 4100), 100, 400, (100, 400)),  # 100 ms at 100 fps
    (Span.from_ms(3960, 4040), 25, 100, (99, 100)),
    (Span.from_ms(1000, 1033), 30, 100, (30, 31)),  # a frame at 30 fps, rounded
    (Span.from_ms(0, 0), 25, 100, (0, 100)),
    (Span.from_ms(3000, 0), 25, 100, (75, 100)),
]


@pytest.mark.parametrize(("span", "fps", "num_frames", "frames"), TOLERATED)
def test_rounding_is_cut_off(
    span: Span, fps: float, num_frames: int, frames: tuple[int, int]
) -> None:
    assert resolve_frame_range(FILE, span, fps, num_frames) == frames


DROPPED = [
    (Span.from_frames(0, 103), 25, 100, "span_cut"),
    (Span.from_ms(1000, 4121), 25, 100, "span_cut"),
    (Span.from_ms(0, 10_000), 25, 100, "span_cut"),
    (Span.from_ms(3990, 9000), 29.97, 120, "span_cut"),
    (Span.from_ms(4000, 5000), 25, 100, "span_beyond_file"),
    (Span.from_ms(4000, 0), 25, 100, "span_beyond_file"),
    (Span.from_ms(1000, 1010), 25, 100, "empty_span"),
    (Span.from_ms(0, 3), 25, 100, "empty_span"),
    (Span.from_ms(1000, 1000), 25, 100, "empty_span"),
    (Span.from_ms(2000, 1000), 25, 100, "empty_span"),
    (Span(), 25, 0, "no_frames"),
]


@pytest.mark.parametrize(("span", "fps", "num_frames", "reason"), DROPPED)
def test_a_span_without_its_frames_is_dropped(
    span: Span, fps: float, num_frames: int, reason: str
) -> None:
    with pytest.raises(ClipError, match=r"`a.pose`") as caught:
        resolve_frame_range(FILE, span, fps, num_frames)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("span", "fps", "is_rate"),
    [
        (Span.from_ms(100, 900), 1, True),
        (Span.from_ms(100, 900), 1000, True),
        (Span.from_ms(0, 900), 241, True),
        (Span.from_ms(100, 110), 25, False),
        (Span.from_ms(9000, 9900), 240, False),
        (Span.from_frames(90, 91), 1, False),
    ],
)
def test_an_implausible_rate_is_named_as_the_cause(span: Span, fps: float, is_rate: bool) -> None:
    with pytest.raises(ClipError) as caught:
        resolve_frame_range(FILE, span, fps, 31)
    assert ("the right rate with `source.fps`" in str(caught.value)) is is_rate
    assert not (is_rate and "time_unit" in str(caught.value))
