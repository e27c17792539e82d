"""Films: sizes, spans, seeking, rates; and what is wrong with them."""

import gc
import os
from pathlib import Path

import av
import numpy as np
import pytest

from films import pictures, turn_video, write_pictures, write_video
from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.sources.video.frame_reader import FrameReader, get_duration_s
from kinesweep.sources.video.video_reader import VideoError, VideoReader


def brightest(frame: np.ndarray) -> float:  # type: ignore[type-arg]
    """Column of the middle of the light block."""
    columns = frame.astype(np.int64).sum(axis=(0, 2))
    columns[columns < columns.max() / 4] = 0  # what compression left beside it
    return float((columns * np.arange(len(columns))).sum() / columns.sum())


def test_frames_are_scaled_and_cut_to_the_middle_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", count=10)
    whole = list(VideoReader(path, None))
    small = list(VideoReader(path, None, size=24))
    assert {frame.shape for frame in whole} == {(48, 64, 3)}
    assert {frame.shape for frame in small} == {(24, 24, 3)} and len(small) == 10
    # 64 × 48 becomes 32 × 24, of which the columns 4 to 28 stay.
    for one, other in list(zip(whole, small, strict=True))[6:]:
        assert brightest(other) == pytest.approx(brightest(one) / 2 - 4, abs=1)


def test_turned_films_are_cut_upright(tmp_path: Path) -> None:
    path = turn_video(write_video(tmp_path / "a.mp4", count=12))
    film = VideoReader(path, None, size=24)
    assert (film.width, film.height) == (24, 24)
    # In the first frames the block lies beside the middle square, and nothing is to be seen.
    turned, plain = (
        list(film)[-1],
        list(VideoReader(write_video(tmp_path / "b.mp4", 12), None, 24))[-1],
    )
    assert np.ptp(plain) > 200
    assert np.abs(turned.astype(int) - np.rot90(plain, 3)).mean() < 2


@pytest.mark.parametrize("size", [None, 16])
def test_red_comes_first(tmp_path: Path, size: int | None) -> None:
    path = tmp_path / "a.png"
    red = np.full((48, 64, 3), (200, 100, 0), np.uint8)
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode())
    for source, fps in ((path, None), (tmp_path, 25)):
        (frame,) = VideoReader(source, fps, size)
        assert frame[8, 8].tolist() == pytest.approx([200, 100, 0], abs=2)


@pytest.mark.parametrize("count", [40, 200])
def test_a_sought_span_is_the_one_that_is_played_to(tmp_path: Path, count: int) -> None:
    path = write_video(tmp_path / "a.mp4", count, width=512)
    every = list(VideoReader(path, None, size=16))
    for first, last in ((count - 12, count - 2), (3, 9), (count - 1, count)):
        footage = VideoSegment(path, Span.from_ms(first * 40, last * 40))
        found = list(FrameReader(footage, 16))
        assert len(found) == last - first
        np.testing.assert_array_equal(found, every[first:last])
        assert get_duration_s(footage) == pytest.approx((last - first) / 25)


def test_a_film_that_does_not_begin_at_0_is_sought_by_its_own_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 512, 48, "yuv420p"
        for number, picture in enumerate(pictures(100, 512)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = 50 + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    every = list(VideoReader(path, None, size=16))
    assert len(every) == 100
    found = list(FrameReader(VideoSegment(path, Span.from_ms(3200, 3600)), 16))
    np.testing.assert_array_equal(found, every[80:90])


def test_seeking_reads_less(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 250, width=512)
    film = VideoReader(path, None, start_s=9)
    assert 150 <= film.first_index <= 225
    assert len(list(film)) == 250 - film.first_index


def test_folders_of_pictures(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a", 12)
    footage = VideoSegment(folder, Span.from_frames(2, 7), fps=10)
    frames = FrameReader(footage, 16)
    assert frames.fps == 10 and len(list(frames)) == 5
    places = [brightest(frame) for frame in VideoReader(folder, 10)]
    assert places == sorted(places) and len(set(places)) == 12  # 2.png before 10.png
    assert get_duration_s(footage) == 0.5
    with pytest.raises(ClipError) as caught:
        FrameReader(VideoSegment(folder), 16)
    assert caught.value.reason == "no_frame_rate"


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (Span.from_ms(5000, 6000), "span_beyond_file"),
        (Span.from_ms(800, None), "span_beyond_file"),
        (Span.from_ms(400, 400), "empty_span"),
    ],
)
def test_spans_that_are_not_there(tmp_path: Path, span: Span, reason: str) -> None:
    footage = VideoSegment(write_video(tmp_path / "a.mp4", 20), span)
    for call in (lambda: list(FrameReader(footage, 16)), lambda: get_duration_s(footage)):
        with pytest.raises(ClipError) as caught:
            call()
        assert caught.value.reason == reason
        assert "a.mp4" in str(caught.value)


def test_a_file_that_does_not_count_its_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 50)
    assert VideoReader(path, None).num_declared_frames == 0
    assert get_duration_s(VideoSegment(path)) == pytest.approx(2, abs=0.1)
    with pytest.raises(ClipError) as caught:
        list(FrameReader(VideoSegment(path, Span.from_ms(3000, 4000)), 16))
    assert caught.value.reason in ("span_beyond_file", "no_frames")


@pytest.mark.parametrize(("content", "reason"), [(b"no film", "not_a_video"), (b"", "not_a_video")])
def test_what_is_no_film(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(ClipError) as caught:
        FrameReader(VideoSegment(path), 16)
    assert caught.value.reason == reason


def test_a_film_that_was_cut_off(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 200, width=512)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ClipError) as caught:
        list(FrameReader(VideoSegment(path), 16))
    assert caught.value.reason == "truncated"


def test_a_film_that_ends_before_the_frames_that_it_declares(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 20)
    for declared, whole in ((21, True), (22, False)):
        film = VideoReader(path, None)
        film.num_declared_frames = declared
        if whole:
            assert len(list(film)) == 20
            continue
        with pytest.raises(VideoError, match="ends after 20 of 22 frames") as caught:
            list(film)
        assert caught.value.reason == "truncated"


def test_a_frame_holds_no_threads(tmp_path: Path) -> None:
    """A process that is forked while frames are in memory would wait for their threads forever."""
    path = write_video(tmp_path / "a.mp4", 5)
    tasks = Path("/proc/self/task")
    num_threads = len(list(tasks.iterdir()))
    for size in (16, None):
        reader = VideoReader(path, None, size)
        frame = next(iter(reader))
        assert len(list(tasks.iterdir())) <= num_threads
        del frame


def test_a_segment_that_was_read_is_closed(tmp_path: Path) -> None:
    """Its decoder would otherwise take memory until the garbage is collected."""
    segment = VideoSegment(write_video(tmp_path / "a.mp4", 20), Span.from_frames(2, 9))
    gc.disable()
    try:
        assert len(list(FrameReader(segment, 16))) == 7
        assert get_duration_s(segment) == 7 / 25
        opened = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    finally:
        gc.enable()
    assert str(segment.path) not in opened
