"""The frames of a span are those that are shown at its times, whatever a file's time stamps are.

Time stamps after the published specifications: Matroska and WebM (RFC 9559: whole milliseconds,
`DefaultDuration` optional), ISO 14496-12 (composition offsets, edit lists), AVI (one rate for all
frames), ASF and FLV (milliseconds); recordings after W3C MediaRecorder (no rate, no index).
"""

import bisect
import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from films import pictures, write_pictures
from kinesweep.config.recipe.source import VideoTsvConfig
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.sources.video.frame_reader import FrameReader, get_duration_s
from kinesweep.sources.video.video_reader import VideoReader
from kinesweep.sources.video.video_tsv import VideoTsvSource
from timed_films import read_number, read_timestamps_s, write_timed_video

ROUNDING_S = 0.0015
"""Time stamps in whole milliseconds, and the rounding that the reader forgives."""


def read_numbers(path: Path, span: Span = Span(), fps: float | None = None) -> list[int]:
    return [read_number(frame) for frame in FrameReader(VideoSegment(path, span, fps), None)]


def check_span(path: Path, start_s: float, end_s: float, fps: float | None = None) -> None:
    """The oracle: a list of time stamps, and which of them is the last one at a time."""
    reader = FrameReader(VideoSegment(path, Span.from_ms(start_s * 1000, end_s * 1000), fps), None)
    found = [read_number(frame) for frame in reader]
    times_s = read_timestamps_s(path)
    ends_s = [*times_s[1:], 1e9]
    assert len(found) == reader.end - reader.start
    for index, number in enumerate(found, reader.start):
        moment_s = min(max((index + 0.5) / reader.fps, start_s), end_s)
        shown = bisect.bisect_right(times_s, moment_s) - 1
        is_near_edge = min(abs(time - moment_s) for time in times_s) <= ROUNDING_S
        assert number == shown or (is_near_edge and abs(number - shown) == 1)
        # Never a frame from before or after the span.
        assert times_s[number] < end_s + ROUNDING_S and ends_s[number] > start_s - ROUNDING_S
    for number, (time, end) in enumerate(zip(times_s, ends_s, strict=True)):
        shown_s = min(end, end_s) - max(time, start_s)
        # What is shown for a whole frame time and a half is never left out.
        assert shown_s < 1.5 / reader.fps + ROUNDING_S or number in found


@pytest.fixture(scope="module")
def slowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 30 and then six at 10 frames a second; the header says 30."""
    ticks = [round(1000 * i / 30) for i in range(60)] + [2000 + 100 * i for i in range(60)]
    return write_timed_video(tmp_path_factory.mktemp("slowing") / "a.webm", ticks)


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "first", "last"),
    [(1000, 2000, 30, 59), (3000, 3800, 70, 77), (5000, 7000, 90, 109), (7500, 8000, 115, 119)],
)
def test_a_video_that_becomes_slower(
    slowing: Path, start_ms: int, end_ms: int, first: int, last: int
) -> None:
    span = Span.from_ms(start_ms, end_ms)
    found = read_numbers(slowing, span)
    assert sorted(set(found)) == list(range(first, last + 1)) and found == sorted(found)
    # At a lower rate, not every frame is the one in the middle of a frame time.
    assert set(read_numbers(slowing, span, 12.5)) <= set(found)
    for fps in (None, 12.5):
        check_span(slowing, start_ms / 1000, end_ms / 1000, fps)


def test_a_view_of_the_whole_video_has_a_constant_rate(slowing: Path) -> None:
    reader = VideoReader(slowing, None)
    found = [read_number(frame) for frame in reader]
    assert (reader.fps, len(found), reader.num_frames) == (30, 240, 240)
    assert found == [*range(60), *(60 + i // 3 for i in range(180))]
    assert get_duration_s(VideoSegment(slowing)) == 8


def test_a_table_of_spans(slowing: Path) -> None:
    """The table beside the file, as a source lists it."""
    rows = [(1000, 2000, 30, 59), (3000, 3800, 70, 77), (5000, 7000, 90, 109)]
    lines = ["signal\tsignal_start\tsignal_end\toutput"]
    lines += [f"a.webm\t{start}\t{end}\tA sentence." for start, end, _, _ in rows]
    table = slowing.with_name("train.tsv")
    table.write_text("\n".join(lines) + "\n")
    for fps in (None, 20.0):
        source = VideoTsvSource(VideoTsvConfig(kind="video_tsv", train=str(table), fps=fps))
        for clip, (_, _, first, last) in zip(source.list_clips("train"), rows, strict=True):
            reader = FrameReader(source.read(clip), None)
            found = {read_number(frame) for frame in reader}
            assert reader.fps == (fps or 30) and min(found) == first and max(found) == last
            source.verify_clip(clip)


def test_the_recipe_s_rate_is_that_of_the_view(slowing: Path) -> None:
    reader = FrameReader(VideoSegment(slowing, fps=10), None)
    found = [read_number(frame) for frame in reader]
    assert (reader.fps, len(found)) == (10, 80)
    # Every frame time of 100 ms shows what is there at its middle.
    assert found == [*range(1, 60, 3), *range(60, 120)]


def test_a_frame_that_is_shown_again_is_a_copy(slowing: Path) -> None:
    frames = list(VideoReader(slowing, None))[60:63]
    frames[0][:] = 7  # an estimator draws
    assert read_number(frames[1]) == read_number(frames[2]) == 60


@pytest.mark.parametrize(
    ("suffix", "rate"),
    [(".webm", rate) for rate in (12.5, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60)]
    + [(".mkv", 29.97), (".mkv", 60), (".mp4", 23.976), (".mp4", 29.97), (".mp4", 30)],
)
def test_rounded_time_stamps_are_a_constant_rate(tmp_path: Path, suffix: str, rate: float) -> None:
    exact = Fraction(round(rate * 1001 / 1000) * 1000, 1001) if rate % 0.5 else Fraction(rate)
    for rounding in (round, int):
        ticks = [rounding(1000 * i / exact) for i in range(40)]
        path = write_timed_video(tmp_path / f"{rounding.__name__}{suffix}", ticks, rate=rate)
        assert read_numbers(path) == list(range(40))
        for first, last in ((0, 5), (7, 38)):
            # Spans in whole milliseconds, as tables have them, and exact ones.
            for digits in (0, 9):
                start, end = (round(float(1000 * i / exact), digits) for i in (first, last))
                expected = Span.from_ms(start, end).to_frame_range(VideoReader(path, None).fps, 40)
                assert read_numbers(path, Span.from_ms(start, end)) == list(range(*expected))
        assert read_numbers(path, Span.from_frames(5, 36)) == list(range(5, 36))


@pytest.mark.parametrize(
    ("name", "rate"), [("nonsense.webm", 1000), ("nonsense.mkv", 500), ("doubled.webm", 60)]
)
def test_a_declared_rate_that_is_not_that_of_the_frames(
    tmp_path: Path, name: str, rate: float
) -> None:
    path = write_timed_video(tmp_path / name, [round(1000 * i / 30) for i in range(90)], rate=rate)
    reader = FrameReader(VideoSegment(path, Span.from_ms(1000, 2000)), None)
    assert reader.fps == 30
    assert [read_number(frame) for frame in reader] == list(range(30, 60))


def test_pauses_of_a_recording(tmp_path: Path) -> None:
    """A browser's jitter of a few milliseconds, with a pause of three seconds."""
    chance = random.Random(3)
    ticks = [round(1000 * i / 30) + chance.randint(-6, 6) + 3000 * (i >= 45) for i in range(90)]
    path = write_timed_video(tmp_path / "a.webm", [tick - ticks[0] for tick in ticks], rate=1000)
    found = read_numbers(path)
    reader = FrameReader(VideoSegment(path), None)
    assert reader.fps == pytest.approx(30, rel=0.01) and abs(len(found) - 180) <= 1
    assert sum(set(found) >= {i} for i in range(90)) >= 88  # jitter loses hardly any frame
    for start_s, end_s in ((0.5, 1.0), (1.4, 4.6), (2, 4), (5, 5.5)):
        check_span(path, start_s, end_s)
    assert set(read_numbers(path, Span.from_ms(2000, 4000))) == {44}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_first_time_stamp_other_than_0(tmp_path: Path, suffix: str) -> None:
    path = write_timed_video(tmp_path / f"a{suffix}", [2000 + 40 * i for i in range(100)], rate=25)
    assert read_numbers(path) == list(range(100))
    assert read_numbers(path, Span.from_ms(400, 800)) == list(range(10, 20))
    assert read_numbers(path, Span.from_ms(3200, 3600)) == list(range(80, 90))


def test_frames_that_an_edit_list_hides(tmp_path: Path) -> None:
    ticks = [40 * (i - 10) for i in range(60)]
    path = write_timed_video(tmp_path / "a.mp4", ticks, rate=25, codec="mpeg4")
    assert read_numbers(path) == list(range(10, 60))
    assert read_numbers(path, Span.from_ms(400, 800)) == list(range(20, 30))


def test_a_video_that_begins_after_its_sound(tmp_path: Path) -> None:
    ticks = [40 * (i + 50) for i in range(50)]
    path = write_timed_video(tmp_path / "a.mov", ticks, rate=25, audio_from_s=0)
    assert read_numbers(path, Span.from_ms(2400, 2800)) == list(range(10, 20))
    # Poses of the whole video keep the times of its sound.
    assert read_numbers(path) == [0] * 50 + list(range(50))


def test_images_are_shown_in_their_order_whatever_the_recipe_says(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a", 12)
    (folder / "7.png").unlink()
    found = list(FrameReader(VideoSegment(folder, Span.from_ms(500, 900), 10), None))
    # The numbers order the images; a gap in them is not a gap in time.
    expected = pictures(12)
    np.testing.assert_array_equal(found, [expected[i] for i in (5, 7, 8, 9)])


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", "mpeg4"), ("a.flv", "flv"), ("a.wmv", "wmv2"), ("b.webm", "libvpx-vp9")],
)
def test_other_containers(tmp_path: Path, name: str, codec: str) -> None:
    chance = random.Random(name)
    ticks = [0]
    for _ in range(60):
        ticks.append(ticks[-1] + chance.choice((20, 40, 40, 80, 200)))
    path = write_timed_video(tmp_path / name, ticks, rate=25, codec=codec)
    for start_s, end_s in ((0, 1), (0.7, 1.9), (2.5, 3.4)):
        check_span(path, start_s, end_s)


def make_random_ticks(chance: random.Random) -> list[int]:
    """Time stamps in milliseconds: constant or not, with jitter, pauses, bursts and an offset."""
    kind = chance.choice(("constant", "jitter", "pauses", "bursts", "any", "two rates"))
    step_ms = 1000 / chance.choice((8, 12.5, 15, 24, 25, 29.97, 30, 50, 60))
    time, times = float(chance.choice((0, 0, 37, 2500))), []
    for number in range(chance.randint(12, 140)):
        times.append(round(time))
        time += {
            "constant": step_ms,
            "jitter": step_ms * chance.uniform(0.6, 1.4),
            "pauses": step_ms * (1 if chance.random() < 0.95 else chance.randint(2, 40)),
            "bursts": 5 if chance.random() < 0.3 else 2 * step_ms,
            "any": chance.uniform(2, 300),
            "two rates": step_ms * (1 if number < 30 else 3),
        }[kind]
    # A container refuses equal time stamps of two frames.
    return [time + max(0, 2 * i * (times[i - 1] == time)) for i, time in enumerate(times)]


def check_random_video(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    name, codec = (("a.webm", "libvpx"), ("a.mp4", "libx264"), ("a.mkv", "mpeg4"))[seed % 3]
    ticks = make_random_ticks(chance)
    path = write_timed_video(
        folder / name, ticks, rate=chance.choice((10, 25, 30, 60, 1000)), codec=codec
    )
    length_s = (ticks[-1] - ticks[0]) / 1000
    found = read_numbers(path)
    assert found == sorted(found) and found[-1] == len(ticks) - 1
    assert all(later > time for time, later in pairwise(read_timestamps_s(path)))
    for _ in range(4):
        start_s = chance.uniform(0, 0.8 * length_s)
        # At least one frame at any rate that the reader may choose.
        end_s = start_s + max(0.3, chance.uniform(0, length_s - start_s))
        if end_s < length_s:
            fps = chance.choice((None, None, 12.5, 25.0))
            check_span(path, round(start_s, 3), round(end_s, 3), fps)


@pytest.mark.parametrize("seed", range(15))
def test_random_time_stamps(tmp_path: Path, seed: int) -> None:
    check_random_video(tmp_path, seed)


@pytest.mark.proof
def test_200_videos_with_random_time_stamps(tmp_path: Path) -> None:
    for seed in range(1000, 1200):
        check_random_video(tmp_path, seed)


@pytest.mark.parametrize(("fps", "count"), [(10, 8), (12.5, 10), (25, 20), (50, 40)])
def test_a_stated_rate_keeps_the_duration(tmp_path: Path, fps: float, count: int) -> None:
    """20 frames of 40 ms last 0.8 s at every rate."""
    path = write_timed_video(tmp_path / "a.mkv", range(0, 800, 40), rate=25)
    assert len(read_numbers(path, fps=fps)) == count
