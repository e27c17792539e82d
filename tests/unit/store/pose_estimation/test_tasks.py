"""Which videos there are, where their poses go, and when they are estimated again."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from films import toy_estimator
from kinesweep.core.errors import InputError
from kinesweep.features.estimators import EstimatorSpec, find_estimator
from kinesweep.store.pose_estimation.tasks import (
    PoseEstimationTask,
    build_pose_estimation_tasks,
    collect_estimation_inputs,
    has_valid_poses,
    write_estimation_note,
)
from timed_films import write_timed_video


@pytest.fixture
def spec(tmp_path: Path) -> EstimatorSpec:
    return toy_estimator(tmp_path)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_poses_lie_as_their_videos_do(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    touch(root / "a.mp4", root / "b/c.MKV", root / "b/note.txt", root / "b/frames.1/2.png")
    found = build_pose_estimation_tasks([root], out)
    assert [(v.name, v.pose_path.relative_to(out).as_posix()) for v in found] == [
        ("a.mp4", "a.pose"),
        ("b/c.MKV", "b/c.pose"),
        ("b/frames.1", "b/frames.1.pose"),
    ]
    assert [
        v.pose_path.name
        for v in build_pose_estimation_tasks([root / "a.mp4", root / "b/frames.1"], out)
    ] == [
        "a.pose",
        "frames.1.pose",
    ]
    assert build_pose_estimation_tasks([root / "a.mp4", root], out) == [
        *build_pose_estimation_tasks([root], out)
    ]


def test_what_cannot_be(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.mp4", tmp_path / "in/a.avi", tmp_path / "empty/a.txt")
    with pytest.raises(InputError, match=r"a\.avi` and .*a\.mp4` would both"):
        build_pose_estimation_tasks([tmp_path / "in"], tmp_path / "out")
    with pytest.raises(InputError, match="no video found in"):
        build_pose_estimation_tasks([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        build_pose_estimation_tasks([tmp_path / "gone"], tmp_path / "out")


def test_done_means_this_file_by_this_estimator(tmp_path: Path, spec: EstimatorSpec) -> None:
    source = tmp_path / "a.mp4"
    touch(source)
    (video,) = build_pose_estimation_tasks([source], tmp_path / "out")
    assert not has_valid_poses(video, spec, None)
    touch(video.pose_path)
    write_estimation_note(video, {**collect_estimation_inputs(video, spec, None), "pose_bytes": 1})
    assert has_valid_poses(video, spec, None) and not has_valid_poses(video, spec, 25.0)
    assert not has_valid_poses(video, replace(spec, version="9"), None)
    assert not has_valid_poses(video, replace(spec, requirements=("x==1",)), None)
    os.utime(source, ns=(0, 0))
    assert not has_valid_poses(video, spec, None)
    write_estimation_note(video, {**collect_estimation_inputs(video, spec, None), "pose_bytes": 1})
    video.pose_path.write_text("cut off later")
    assert not has_valid_poses(video, spec, None)
    video.note_path.write_text("{")
    assert not has_valid_poses(video, spec, None)


def test_a_folder_has_the_rate_that_was_given(tmp_path: Path, spec: EstimatorSpec) -> None:
    touch(tmp_path / "f/1.png", tmp_path / "f/2.png")
    video = PoseEstimationTask(tmp_path / "f", tmp_path / "f.pose", "f")
    touch(video.pose_path)
    write_estimation_note(video, {**collect_estimation_inputs(video, spec, 25.0), "pose_bytes": 1})
    assert has_valid_poses(video, spec, 25.0) and not has_valid_poses(video, spec, 30.0)
    touch(tmp_path / "f/3.png")
    assert not has_valid_poses(video, spec, 25.0)


def test_a_video_s_own_rate_may_be_asked_for(tmp_path: Path, spec: EstimatorSpec) -> None:
    video = PoseEstimationTask(tmp_path / "a.mp4", tmp_path / "a.pose", "a.mp4")
    touch(video.source, video.pose_path)
    inputs = collect_estimation_inputs(video, spec, None)
    write_estimation_note(video, {**inputs, "pose_bytes": 1, "fps": 25.0})
    assert has_valid_poses(video, spec, 25.0) and not has_valid_poses(video, spec, 30.0)


@pytest.mark.parametrize(("slow_ms", "is_valid"), [(40, True), (120, False)])
def test_poses_from_before_stay_if_the_rate_is_constant(
    tmp_path: Path, spec: EstimatorSpec, slow_ms: int, is_valid: bool
) -> None:
    ticks = [*range(0, 1000, 40), *range(1000, 1000 + 25 * slow_ms, slow_ms)]
    video = PoseEstimationTask(tmp_path / "a.webm", tmp_path / "a.pose", "a.webm")
    write_timed_video(video.source, ticks, rate=25)
    touch(video.pose_path)
    # The note of an earlier version, which took the frames one by one.
    note = {**collect_estimation_inputs(video, spec, None), "given_fps": None}
    del note["frames_by"]
    write_estimation_note(video, {**note, "pose_bytes": 1, "fps": 25.0, "frames": 50})
    assert has_valid_poses(video, spec, None) is is_valid
    write_estimation_note(video, {**note, "pose_bytes": 1, "fps": 30.0, "frames": 50})
    assert not has_valid_poses(video, spec, None)


def test_estimators_by_name() -> None:
    assert find_estimator("mediapipe").requirements[0].startswith("mediapipe==")
    with pytest.raises(InputError, match="did you mean `mediapipe`"):
        find_estimator("mediapip")


def test_only_the_suffix_of_a_video_is_taken_off(tmp_path: Path) -> None:
    names = ["v-00:00:18.285-00:00:21.521.mp4", "v-00:00:18.285-00:00:25.100.webm"]
    touch(*(tmp_path / "in" / name for name in names), tmp_path / "v-00:00:18.285")
    found = build_pose_estimation_tasks([tmp_path / "in", tmp_path / "v-00:00:18.285"], tmp_path)
    assert [task.pose_path.name for task in found] == [
        *("v-00:00:18.285-00:00:21.521.pose", "v-00:00:18.285-00:00:25.100.pose"),
        "v-00:00:18.285.pose",
    ]
