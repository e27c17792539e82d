"""Windows: SSVP-SLT's published counts and indices, and rates that do not depend on the film's."""

import numpy as np
import pytest

from kinesweep.config.recipe.video import VideoWindowsConfig
from kinesweep.core.errors import ClipError, InputError
from kinesweep.features.video_windows import (
    ResampledWindowPositions,
    SsvpWindowPositions,
    build_window_positions,
    count_windows,
    iter_windows,
)
from kinesweep.features.window_stitcher import WindowStitcher

SSVP = VideoWindowsConfig(
    num_frames=128, sampling_rate=2, target_fps=25, stride=128, overlap="concat", compat="ssvp"
)
MOMENTS = 64


def film(num_frames: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Frames that hold their own number."""
    return [np.full((1, 1, 3), number, np.int32) for number in range(num_frames)]


def numbers(window: object) -> list[int]:
    return window.pixels_FHWC[:, 0, 0, 0].tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "fps", "tokens", "windows"),
    [
        (4, 25, 26, 1),
        (10.24, 25, 97, 2),
        (20, 25, 189, 3),
        (20, 30, 237, 4),
        (20, 60, 379, 6),
    ],
)
def test_published_counts(seconds: float, fps: int, tokens: int, windows: int) -> None:
    frames = round(seconds * fps)
    found = list(iter_windows(film(frames), SsvpWindowPositions(SSVP, fps)))
    assert len(found) == windows == count_windows(SsvpWindowPositions(SSVP, fps), frames)[0]
    seam = WindowStitcher(SSVP, MOMENTS)
    assert seam.compute_length(len(found), found[-1].num_real_frames) == tokens
    pieces = [np.zeros((MOMENTS, 1), np.float32)] * windows
    assert len(seam.stitch_windows(pieces, found[-1].num_real_frames)) == tokens


@pytest.mark.parametrize("fps", [25, 30, 60])
@pytest.mark.parametrize("seconds", [4, 10.24, 20])
def test_published_indices(seconds: float, fps: int) -> None:
    """Every index as PREDECESSORS gives it, written here as its loop."""
    num_frames, size = round(seconds * fps), 256 * fps / 25
    expected, start = [], 0
    while True:
        places = np.linspace(start + 0.5, start + size - 0.5, 128)
        expected.append(np.clip(places, 0, num_frames - 1).astype(int).tolist())
        if start + size - 1 >= num_frames:
            break
        start += 128
    found = list(iter_windows(film(num_frames), build_window_positions(SSVP, fps)))
    assert [numbers(window) for window in found] == expected
    repeated = expected[-1].count(num_frames - 1) - 1
    assert found[-1].num_real_frames == 128 - max(0, repeated)
    assert all(window.num_real_frames == 128 for window in found[:-1])


@pytest.mark.parametrize("overlap", ["concat", "average", "crop"])
def test_features_a_second_do_not_depend_on_the_film_s_rate(overlap: str) -> None:
    config = VideoWindowsConfig.model_validate(
        {"num_frames": 16, "sampling_rate": 2, "stride": 16, "overlap": overlap}
    )
    seam, seconds = WindowStitcher(config, 8), 60
    rates = []
    for fps in (24, 25, 30, 50, 60):
        found = list(iter_windows(film(seconds * fps), ResampledWindowPositions(config, fps)))
        rates.append(seam.compute_length(len(found), found[-1].num_real_frames) / seconds)
        assert rates[-1] == pytest.approx(seam.compute_rate_hz(fps), rel=0.02)
    assert max(rates) / min(rates) < 1.02


@pytest.mark.parametrize("fps", [4, 5, 8, 10, 12, 12.5, 15, 23.976])
def test_only_the_last_window_is_padded_at_low_rates(fps: float) -> None:
    """A window of 10.24 s then has fewer frames than places, so that frames repeat in it."""
    found = list(iter_windows(film(round(40 * fps)), SsvpWindowPositions(SSVP, fps)))
    assert [window.num_real_frames for window in found[:-1]] == [128] * (len(found) - 1)
    assert len(found) > 1 and 1 <= found[-1].num_real_frames <= 128


def test_published_rates_do_depend_on_it() -> None:
    seam = WindowStitcher(SSVP, MOMENTS)
    lengths = []
    for fps in (25, 60):
        windows, kept = count_windows(SsvpWindowPositions(SSVP, fps), 600 * fps)
        lengths.append(seam.compute_length(windows, kept) / 600)
        assert lengths[-1] == pytest.approx(seam.compute_rate_hz(fps), rel=0.02)
    assert lengths[1] / lengths[0] > 2


@pytest.mark.parametrize(("fps", "expected"), [(25, [0, 1, 2, 3]), (50, [0, 2, 4, 6])])
def test_frames_are_taken_at_the_target_s_times(fps: int, expected: list[int]) -> None:
    config = VideoWindowsConfig(num_frames=4, target_fps=25)
    (window,) = iter_windows(film(4 * fps // 25), ResampledWindowPositions(config, fps))
    assert (numbers(window), window.num_real_frames) == (expected, 4)


def test_slow_films_show_frames_again() -> None:
    config = VideoWindowsConfig(num_frames=8, target_fps=20)
    (window,) = iter_windows(film(4), ResampledWindowPositions(config, 10))
    assert numbers(window) == [0, 1, 1, 2, 2, 3, 3, 3]
    assert window.num_real_frames == 7


def test_the_end_is_filled_with_the_last_frame() -> None:
    config = VideoWindowsConfig(num_frames=4, stride=2)
    found = list(iter_windows(film(7), ResampledWindowPositions(config, 25)))
    assert [numbers(window) for window in found] == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 6]]
    assert [window.num_real_frames for window in found] == [4, 4, 3]


@pytest.mark.parametrize("num_frames", [1, 3, 4, 5, 8, 9, 31, 32, 33])
@pytest.mark.parametrize("fps", [12.5, 24, 25, 59.94])
def test_counting_is_cutting(num_frames: int, fps: float) -> None:
    config = VideoWindowsConfig(num_frames=4, stride=3, compat="none")
    published = VideoWindowsConfig(num_frames=4, sampling_rate=2, stride=4, compat="ssvp")
    windows = SsvpWindowPositions(published, fps)
    found = list(iter_windows(film(num_frames), windows))
    assert (len(found), found[-1].num_real_frames) == count_windows(windows, num_frames)
    timed = ResampledWindowPositions(config, fps)
    resampled = len(list(timed.resample(film(num_frames))))
    found = list(iter_windows(film(num_frames), timed))
    assert (len(found), found[-1].num_real_frames) == count_windows(timed, resampled)
    assert resampled >= 1 and abs(resampled - num_frames * 25 / fps) <= 1.01


def moments(*starts: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Windows of four moments that hold their own times."""
    return [np.arange(start, start + 4, dtype=np.float32)[:, None] for start in starts]


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("concat", [0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6]),
        ("crop", [0, 1, 2, 3, 4, 5, 6]),
        ("average", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_moments_that_two_windows_see(overlap: str, expected: list[int]) -> None:
    config = VideoWindowsConfig.model_validate({"num_frames": 8, "stride": 4, "overlap": overlap})
    found = WindowStitcher(config, 4).stitch_windows(moments(0, 2, 4), 6)
    assert found[:, 0].tolist() == expected
    assert WindowStitcher(config, 4).compute_length(3, 6) == len(expected)


def test_averages_and_crops_take_the_right_window() -> None:
    windows = [np.full((4, 1), value, np.float32) for value in (0, 10)]
    half = {"num_frames": 4, "stride": 2}
    average = VideoWindowsConfig.model_validate({**half, "overlap": "average"})
    assert WindowStitcher(average, 4).stitch_windows(windows, 4)[:, 0].tolist() == [
        0,
        0,
        5,
        5,
        10,
        10,
    ]
    crop = VideoWindowsConfig.model_validate({**half, "overlap": "crop"})
    assert WindowStitcher(crop, 4).stitch_windows(windows, 4)[:, 0].tolist() == [
        0,
        0,
        0,
        10,
        10,
        10,
    ]


def test_windows_that_overlap_by_parts_of_a_moment() -> None:
    config = VideoWindowsConfig(num_frames=8, stride=3, overlap="average")
    with pytest.raises(InputError, match="multiple of 2 frames, not 3"):
        WindowStitcher(config, 4)


def test_no_frames() -> None:
    with pytest.raises(ClipError, match="no frames"):
        list(iter_windows([], ResampledWindowPositions(VideoWindowsConfig(), 25)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 4, "stride": 5}, "would never be seen"),
        ({"compat": "ssvp", "overlap": "crop"}, "must be `concat`"),
    ],
)
def test_impossible_windows(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoWindowsConfig.model_validate(settings)
