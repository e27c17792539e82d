"""Decoded frames: windows cut from them are those that an extraction cuts, to the bit."""

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest

from films import turn_video, write_pictures, write_video
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.video import HfVisionEncoderConfig, VideoFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.frames import FramesFeatures, decode_frames
from kinesweep.features.video import VideoFeatures
from kinesweep.features.video_windows import build_window_positions, iter_windows
from timed_films import read_number, write_timed_video

SIZE = 16
# Unequal intervals, a pause of 0.4 s, and a rate that is none of the usual ones.
UNEVEN = list(itertools.accumulate([0, *([33, 34, 61] * 12), 400, *([41, 19] * 10)]))


def make_segment(folder: Path, kind: str) -> VideoSegment:
    """A segment of a video that is read in a way of its own."""
    if kind == "variable":
        return VideoSegment(write_timed_video(folder / "a.mkv", UNEVEN))
    if kind == "variable_span":
        return VideoSegment(write_timed_video(folder / "a.webm", UNEVEN), Span.from_ms(210, 1730))
    if kind == "rate_30":
        return VideoSegment(write_video(folder / "a.mp4", 47, fps=30))
    if kind == "late_span":
        ticks = [40 * number for number in range(200)]
        return VideoSegment(write_timed_video(folder / "a.mp4", ticks), Span.from_ms(4321, 6120))
    if kind == "stated_rate":
        return VideoSegment(write_video(folder / "a.mp4", 40, fps=50), Span.from_frames(3, 24), 30)
    if kind == "pictures":
        return VideoSegment(write_pictures(folder / "a", 12), fps=12.5)
    return VideoSegment(turn_video(write_video(folder / "a.mp4", 21)))


KINDS = ("variable", "variable_span", "rate_30", "late_span", "stated_rate", "pictures", "turned")


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_stored_frames_are_those_of_an_extraction(tmp_path: Path, kind: str) -> None:
    segment = make_segment(tmp_path, kind)
    config = VideoFeaturesConfig(
        encoder=HfVisionEncoderConfig(pretrained="unused"),
        windows={"num_frames": 8, "sampling_rate": 2, "stride": 6},  # type: ignore[arg-type]
    )
    _, windows = VideoFeatures(config).iter_segment_windows(segment, SIZE)
    expected = list(windows)
    features = FramesFeatures(FramesFeaturesConfig(size=SIZE)).compute_features(segment)["video"]
    assert features.x_TD.dtype == np.uint8
    assert (features.rate_hz, features.frame_size, features.reads_video) == (25, SIZE, False)
    frames_THWC = features.x_TD.reshape(-1, SIZE, SIZE, 3)
    # At their own rate, stored frames are not resampled again.
    found = list(iter_windows(frames_THWC, build_window_positions(config.windows, 25.0)))
    assert len(found) == len(expected) > 1
    for window, expected_window in zip(found, expected, strict=True):
        np.testing.assert_array_equal(window.pixels_FHWC, expected_window.pixels_FHWC)
        assert window.num_real_frames == expected_window.num_real_frames
    assert len(np.unique(frames_THWC)) > 1


def test_the_identity_of_frames(tmp_path: Path) -> None:
    steps = [
        FramesFeatures(FramesFeaturesConfig(**values))
        for values in ({}, {"size": 112}, {"target_fps": 12.5}, {"storage": "video"})
    ]
    assert len({step.fingerprint for step in steps}) == 4
    # The store's keys name the stream beside the fingerprint.
    renamed = FramesFeatures(FramesFeaturesConfig(stream="frames"))
    assert renamed.fingerprint == steps[0].fingerprint
    assert renamed.streams == ("frames",)
    assert pickle.loads(pickle.dumps(renamed)) == renamed


def test_the_size_of_frames_is_known_before(tmp_path: Path) -> None:
    segment = VideoSegment(write_video(tmp_path / "a.mp4", 50, fps=50))
    step = FramesFeatures(FramesFeaturesConfig(size=SIZE, target_fps=12.5))
    assert step.compute_features(segment)["video"].x_TD.shape == (13, 768)
    assert step.estimate_shapes(segment)["video"] == (12, 768)
    kept = FramesFeatures(FramesFeaturesConfig(size=SIZE, storage="video"))
    assert kept.estimate_shapes(segment)["video"] == (0, 768)


def test_a_recording_that_fills_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = VideoSegment(write_video(tmp_path / "a.mp4", 50))
    monkeypatch.setattr("kinesweep.sources.decoded_size.get_max_decoded_bytes", lambda: 49 * 768)
    with pytest.raises(ClipError, match="cut it into clips") as caught:
        FramesFeatures(FramesFeaturesConfig(size=SIZE)).compute_features(segment)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    ("target_fps", "expected"),
    [
        (25.0, [0, 1, 2, 4, 5, 6, 7, 8, 10, 11]),
        (12.0, [0, 3, 5, 8, 10]),
        (60.0, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11]),
    ],
)
def test_the_nearest_frame_is_taken(tmp_path: Path, target_fps: float, expected: list[int]) -> None:
    """Twelve frames at 30 fps, each of which shows its number; halves are rounded up."""
    ticks = [round(1000 * number / 30) for number in range(12)]
    segment = VideoSegment(write_timed_video(tmp_path / "a.mkv", ticks))
    frames = decode_frames(segment, 32, target_fps).reshape(-1, 32, 32, 3)
    assert [read_number(frame) for frame in frames] == expected
