"""Videos whose headers lie, lack an index or run backwards, and spans that a file does not hold.

Files after RFC 9559 (live WebM has neither `Cues` nor `Duration`), ISO 14496-12 (fragments without
sample tables), ISO 13818-1 (a joined transport stream whose clock starts again), raw H.264
(ISO 14496-10, annex B, no time stamps) and AVI (no field for the time of showing).
"""

import pickle
from pathlib import Path

import av
import pytest

from films import write_pictures, write_video
from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.sources.video.frame_reader import FrameReader, get_duration_s
from kinesweep.sources.video.video_reader import VideoError, VideoReader
from kinesweep.sources.video.video_warnings import find_video_warnings
from timed_films import read_number, write_timed_video

SLOWING_MS = [round(1000 * i / 30) for i in range(60)] + [2000 + 100 * i for i in range(60)]


def read_numbers(path: Path, span: Span = Span()) -> list[int]:
    return [read_number(frame) for frame in FrameReader(VideoSegment(path, span), None)]


def find_reason(path: Path, span: Span, fps: float | None = None) -> str:
    with pytest.raises(ClipError) as caught:
        list(FrameReader(VideoSegment(path, span, fps), None))
    assert path.name in str(caught.value)
    return caught.value.reason


def test_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(VideoError("ends early", "truncated")))
    assert (str(error), error.reason) == ("ends early", "truncated")


@pytest.mark.parametrize("rate", [30, 1000])
def test_recordings_without_an_index_or_a_duration(tmp_path: Path, rate: float) -> None:
    path = write_timed_video(
        tmp_path / "a.webm", SLOWING_MS, rate=rate, container_options={"live": "1"}
    )
    with av.open(str(path)) as container:
        assert container.duration is None and container.streams.video[0].frames == 0
    assert sorted(set(read_numbers(path, Span.from_ms(5000, 6000)))) == list(range(90, 100))
    assert get_duration_s(VideoSegment(path)) == 8
    assert find_reason(path, Span.from_ms(8000, 9000)) == "span_beyond_file"


@pytest.mark.parametrize(
    ("name", "container_format", "codec", "options"),
    [
        ("raw.mpg", "h264", "libx264", {}),
        ("raw.m4v", "m4v", "mpeg4", {}),
        ("a.avi", "avi", "libx264", {}),
        ("a.mpg", "mpegts", "libx264", {}),
        ("a.mp4", "mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("b.mp4", "mp4", "libx264", {"use_editlist": "0"}),
    ],
)
def test_files_with_few_time_stamps_or_none(
    tmp_path: Path, name: str, container_format: str, codec: str, options: dict[str, str]
) -> None:
    path = write_timed_video(
        tmp_path / name,
        [40 * i for i in range(80)],
        rate=25,
        codec=codec,
        container_options=options,
        container_format=container_format,
    )
    # Beyond the two seconds from which on the reader seeks, and before.
    assert read_numbers(path, Span.from_ms(2600, 3000)) == list(range(65, 75))
    assert read_numbers(path, Span.from_ms(400, 800)) == list(range(10, 20))
    assert read_numbers(path) == list(range(80))


def test_a_file_whose_clock_starts_again_is_refused(tmp_path: Path) -> None:
    part = write_timed_video(
        tmp_path / "a.mpg", range(0, 2400, 40), rate=25, codec="libx264", container_format="mpegts"
    )
    part.write_bytes(part.read_bytes() * 2)
    assert find_reason(part, Span()) == "bad_times"


def test_a_time_stamp_that_is_hours_away(tmp_path: Path) -> None:
    ticks = [*range(0, 4000, 40), 10_000_000]
    path = write_timed_video(tmp_path / "a.webm", ticks, rate=25)
    assert find_reason(path, Span()) == "bad_times"
    assert read_numbers(path, Span.from_ms(3000, 3960)) == list(range(75, 99))
    # A pause of a minute is none.
    ticks[-1] = 60_000
    assert len(read_numbers(write_timed_video(path, ticks, rate=25))) > 1500


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (Span.from_ms(400, 800), None),
        (Span.from_ms(400, 900), None),  # 100 ms after the end
        (Span.from_ms(400, 901), "span_cut"),
        (Span.from_ms(0, 5000), "span_cut"),
        (Span.from_frames(3, 22), None),
        (Span.from_frames(3, 23), "span_cut"),
        (Span.from_ms(800, 900), "span_beyond_file"),
        (Span.from_frames(20, 30), "span_beyond_file"),
        (Span.from_ms(300, 200), "empty_span"),
        (Span.from_ms(3, 7), "empty_span"),  # seconds
        (Span.from_ms(100, 139), None),  # a frame in whole milliseconds
    ],
)
@pytest.mark.parametrize("kind", ["mp4", "images"])
def test_spans_that_the_file_does_not_hold(
    tmp_path: Path, kind: str, span: Span, reason: str | None
) -> None:
    path = write_video(tmp_path / "a.mp4") if kind == "mp4" else write_pictures(tmp_path / "a", 20)
    if reason is None:
        assert list(FrameReader(VideoSegment(path, span, 25), None))
    else:
        assert find_reason(path, span, 25) == reason


def test_a_span_before_the_first_frame(tmp_path: Path) -> None:
    ticks = [40 * (i + 50) for i in range(30)]
    path = write_timed_video(tmp_path / "a.mov", ticks, rate=25, audio_from_s=0)
    assert find_reason(path, Span.from_ms(400, 800)) == "span_before_video"


def test_a_header_that_declares_more_frames_than_there_are(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 100)
    content = path.read_bytes()
    # The table of sample sizes (ISO 14496-12, 8.7.3): the last three lie beyond the file.
    place = content.index(b"stsz") + 12 + 4 * 97
    path.write_bytes(content[:place] + b"\x00\xff\xff\xff" * 3 + content[place + 12 :])
    assert read_numbers_of_frames(path, Span.from_ms(3000, 3880)) == 22
    assert find_reason(path, Span.from_ms(3000, 4000)) == "span_cut"


def read_numbers_of_frames(path: Path, span: Span) -> int:
    return len(list(FrameReader(VideoSegment(path, span), None)))


@pytest.mark.parametrize(
    ("name", "rate", "step_ms", "kind"),
    [
        ("a.webm", 1000, 33, "implausible_rate"),
        ("a.mkv", 2, 40, "implausible_rate"),
        ("a.mp4", 30, 1000, "implausible_rate"),
        ("b.webm", 30, 100, "contradictory_rate"),
        ("b.mkv", 25, 40 / 1.03, "contradictory_rate"),
        ("c.webm", 30, 1000 / 30, None),
        ("c.mkv", 25, 40 / 1.01, None),
        ("c.mp4", 25, 100, None),  # the header of an MP4 declares the mean rate
    ],
)
def test_rates_that_are_doubted(
    tmp_path: Path, name: str, rate: float, step_ms: float, kind: str | None
) -> None:
    path = write_timed_video(tmp_path / name, [round(i * step_ms) for i in range(70)], rate=rate)
    found = find_video_warnings(VideoSegment(path))
    assert [warning[0] for warning in found] == ([kind] if kind else [])
    assert all(name in message and "`source.fps`" in message for _, message in found)
    # A stated rate is not doubted.
    assert not find_video_warnings(VideoSegment(path, fps=25))


def test_folders_and_what_is_no_video_have_no_doubtful_rate(tmp_path: Path) -> None:
    assert not find_video_warnings(VideoSegment(write_pictures(tmp_path / "a", 2), fps=25))
    (tmp_path / "b.mp4").write_bytes(b"no film")
    with pytest.raises(ClipError, match=r"b\.mp4"):
        find_video_warnings(VideoSegment(tmp_path / "b.mp4"))


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = write_timed_video(tmp_path / "a.webm", SLOWING_MS)
    assert VideoReader(path, None).num_frames == 240
    write_timed_video(path, SLOWING_MS[:60])
    assert VideoReader(path, None).num_frames == 60


def test_a_codec_that_is_not_known(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4", b"V_NOPE4"))
    assert find_reason(path, Span()) == "not_a_video"
