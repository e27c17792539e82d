"""An estimator's process: videos in, pose files out, and what goes wrong with one of them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from films import toy_estimator, turn_video, write_pictures, write_video
from kinesweep.core.errors import ClipError
from kinesweep.features.estimators import worker_main
from kinesweep.features.estimators.subprocess_worker import EstimatorProcess
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.video.video_reader import VideoReader
from timed_films import write_timed_video


@pytest.fixture
def estimate(tmp_path: Path) -> Iterator[EstimatorProcess]:
    with EstimatorProcess(toy_estimator(tmp_path)) as process:
        yield process


def test_a_video(estimate: EstimatorProcess, tmp_path: Path) -> None:
    out = tmp_path / "poses/deep/a.pose"
    made = estimate(write_video(tmp_path / "a.mp4"), out)
    assert (made["frames"], made["fps"], made["width"], made["height"]) == (20, 25, 64, 48)
    assert (made["points"], made["pose_bytes"]) == (1, out.stat().st_size)
    assert made["seconds"] > 0 and made["core_seconds"] > 0
    pose = read_pose(out)
    assert pose.fps == 25
    across = pose.points_TPJC[:, 0, 0, 0]
    # The block goes two pixels a frame; its brightest pixel is somewhere in it.
    assert np.abs(across - (2 * np.arange(20) + 4)).max() <= 5
    assert [path.name for path in out.parent.iterdir()] == ["a.pose"], "nothing half-written"


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mov"])
def test_other_containers(estimate: EstimatorProcess, tmp_path: Path, suffix: str) -> None:
    made = estimate(write_video(tmp_path / f"a{suffix}", 7, fps=30), tmp_path / "a.pose")
    assert (made["frames"], made["fps"]) == (7, 30)


@pytest.mark.parametrize(("fps", "num_poses"), [(None, 240), (10.0, 80)])
def test_poses_of_a_variable_rate_have_a_constant_one(
    estimate: EstimatorProcess, tmp_path: Path, fps: float | None, num_poses: int
) -> None:
    """Two seconds at 30 frames a second, then six at 10, of a header that says 30."""
    ticks = [round(1000 * i / 30) for i in range(60)] + [2000 + 100 * i for i in range(60)]
    film = write_timed_video(tmp_path / "a.webm", ticks)
    made = estimate(film, tmp_path / "a.pose", fps)
    pose = read_pose(tmp_path / "a.pose")
    assert made["frames"] == len(pose.points_TPJC) == num_poses
    assert made["fps"] == pose.fps == (fps or 30)
    # The frame that is shown at a time, as the video reader has it.
    frames = VideoReader(film, fps)
    brightest = [np.unravel_index(f.sum(axis=2).argmax(), f.shape[:2])[::-1] for f in frames]
    np.testing.assert_array_equal(pose.points_TPJC[:, 0, 0, :2], brightest)


def test_the_process_does_not_need_the_package() -> None:
    """Its environment has none of our packages; here it is made to look so."""
    code = "import runpy, sys; sys.modules['kinesweep'] = None; runpy.run_path(sys.argv[1])"
    command = [sys.executable, "-P", "-c", code, worker_main.__file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_turned_video_is_seen_upright(estimate: EstimatorProcess, tmp_path: Path) -> None:
    made = estimate(turn_video(write_video(tmp_path / "a.mp4")), tmp_path / "a.pose")
    assert (made["width"], made["height"]) == (48, 64)
    points_T2 = read_pose(tmp_path / "a.pose").points_TPJC[:, 0, 0, :2]
    assert np.abs(points_T2[:, 1] - (2 * np.arange(20) + 4)).max() <= 5, "it goes down now"
    assert (points_T2[:, 0] >= 31).all(), "on the right"


def test_a_folder_of_pictures(estimate: EstimatorProcess, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "frames")
    made = estimate(folder, tmp_path / "a.pose", 12.5)
    assert (made["frames"], made["fps"]) == (12, 12.5)
    across = read_pose(tmp_path / "a.pose").points_TPJC[:, 0, 0, 0]
    assert list(across) == [2 * number for number in range(12)], "10 comes after 9"
    refused(estimate, folder, tmp_path, "no_frame_rate")
    (folder / "5.png").write_text("no picture")
    refused(estimate, folder, tmp_path, "bad_frame", fps=25.0)


def refused(
    estimate: EstimatorProcess, source: Path, folder: Path, reason: str, fps: float | None = None
) -> str:
    out = folder / "refused.pose"
    with pytest.raises(ClipError) as caught:
        estimate(source, out, fps)
    assert caught.value.reason == reason, caught.value
    assert str(source) in str(caught.value) and not out.exists()
    return str(caught.value)


def test_what_is_wrong_with_one_video_is_its_own(
    estimate: EstimatorProcess, tmp_path: Path
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("This is no video.\n" * 50)
    refused(estimate, text, tmp_path, "not_a_video")
    for name in ("cut.avi", "cut.mp4"):  # the one cannot be decoded further, the other just ends
        whole = write_video(tmp_path / f"whole-{name}", 200).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        said = refused(estimate, tmp_path / name, tmp_path, "truncated")
    assert "of 200 frames" in said
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(write_video(tmp_path / "b.mp4").read_bytes()[:800])
    refused(estimate, broken, tmp_path, "not_a_video")
    (tmp_path / "empty.mp4").touch()
    refused(estimate, tmp_path / "empty.mp4", tmp_path, "not_a_video")
    refused(estimate, tmp_path / "gone.mp4", tmp_path, "not_a_video")
    raises = write_video(tmp_path / "raises.mp4", width=66)
    assert "ValueError: 66 is not liked" in refused(estimate, raises, tmp_path, "estimator_failed")
    dies = write_video(tmp_path / "dies.mp4", width=68)
    assert "exit code 7" in refused(estimate, dies, tmp_path, "estimator_died")
    assert estimate(write_video(tmp_path / "a.mp4"), tmp_path / "a.pose")["frames"] == 20
