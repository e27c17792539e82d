"""The tasks of a pose estimation: videos, their pose files, and notes beside the pose files.

A video is a file or a folder of numbered images. Its poses are written to the same relative path
below the output folder. Beside `a.pose`, the note `a.pose.json` records the input and the
estimator. It is written last: a video without a note, or with a note that does not match, is
estimated again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.core.video_files import VIDEO_SUFFIXES, is_video_file
from kinesweep.features.estimators import EstimatorSpec
from kinesweep.sources.video.video_file import VideoError
from kinesweep.sources.video.video_reader import has_images, is_image_file, read_source_times


@dataclass(frozen=True)
class PoseEstimationTask:
    """A video whose poses are to be estimated.

    Attributes:
        source: Absolute path of the video file, or of the folder of images.
        pose_path: Absolute path of the `.pose` file to write.
        name: Name of the video in reports: its path relative to the given folder.
    """

    source: Path
    pose_path: Path
    name: str

    @property
    def note_path(self) -> Path:
        """Return the path of the note beside the pose file."""
        return self.pose_path.with_name(f"{self.pose_path.name}.json")


def build_pose_estimation_tasks(
    inputs: Sequence[Path], output_dir: Path
) -> list[PoseEstimationTask]:
    """Build one task for each of the given videos and each video below the given folders.

    Args:
        inputs: Video files, folders of images, or folders that contain either.
        output_dir: Folder below which pose files are written.

    Returns:
        Tasks in the order of the inputs, sorted by path within a folder. A video that is given
        twice gets one task.

    Raises:
        InputError: If an input does not exist, no video is found, or two videos share an output
            file.
    """
    tasks = [
        task for path in inputs for task in _iter_tasks(path.absolute(), output_dir.absolute())
    ]
    if not tasks:
        raise InputError(
            f"no video found in {', '.join(f'`{path}`' for path in inputs)}: neither a file with"
            f" the suffix {', '.join(VIDEO_SUFFIXES)} nor a folder of images"
        )
    # The same video may be given twice, for example directly and through its folder.
    tasks_by_output: dict[Path, PoseEstimationTask] = {}
    for task in tasks:
        existing_task = tasks_by_output.setdefault(task.pose_path, task)
        if existing_task.source != task.source:
            raise InputError(
                f"`{existing_task.source}` and `{task.source}` would both be written to"
                f" `{task.pose_path}`; estimate them into separate output folders"
            )
    return list(tasks_by_output.values())


def has_valid_poses(task: PoseEstimationTask, spec: EstimatorSpec, fps: float | None) -> bool:
    """Return whether a video has poses whose note matches the video, the estimator and the rate.

    Args:
        task: Video and its pose file.
        spec: Pose estimator.
        fps: Frame rate of folders of images in Hz, and rate at which the frames of video files are
            chosen; None for their own rates.

    Raises:
        OSError: If the pose file and its note exist, but the video does not.
    """
    try:
        note = json.loads(task.note_path.read_text(encoding="utf-8"))
        # The size reveals a `.pose` file that was replaced or truncated after its note was written.
        pose_bytes = task.pose_path.stat().st_size
    except (OSError, ValueError):
        return False
    expected_values = {**collect_estimation_inputs(task, spec, fps), "pose_bytes": pose_bytes}
    if not isinstance(note, dict):
        return False
    differences = {key for key, value in expected_values.items() if note.get(key) != value}
    if fps is not None and note.get("fps") == fps and task.source.is_file():
        # The rate that is asked for is the video's own.
        differences.discard("given_fps")
    if differences == {"frames_by"}:
        # Written before frames were chosen by time stamps: valid if the choice is the same.
        return "frames_by" not in note and _has_frame_per_pose(task.source, fps, note)
    return not differences


def collect_estimation_inputs(
    task: PoseEstimationTask, spec: EstimatorSpec, fps: float | None
) -> dict[str, Any]:
    """Collect the properties of the video and the estimator by which an estimation is identified.

    Number, size and modification time of the video's files are read from the file system; the
    content of the files is not read.

    Args:
        task: Video, a file or a folder of images.
        spec: Pose estimator.
        fps: Frame rate of folders of images in Hz, and rate at which the frames of video files are
            chosen; None for their own rates.

    Returns:
        Key of the note → value.

    Raises:
        OSError: If the video does not exist.
    """
    files = [task.source]
    if task.source.is_dir():
        files = list(filter(is_image_file, task.source.iterdir()))
    stats = [path.stat() for path in files]
    return {
        "source": task.name,
        "source_files": len(files),
        "source_bytes": sum(stat.st_size for stat in stats),
        "source_mtime_ns": max(stat.st_mtime_ns for stat in stats),
        "given_fps": fps,
        "frames_by": "time",
        "estimator": spec.name,
        "estimator_version": spec.version,
        "estimator_fingerprint": spec.fingerprint,
        "requirements": list(spec.requirements),
    }


def write_estimation_note(task: PoseEstimationTask, content: Mapping[str, Any]) -> None:
    """Write the note that marks the poses of a video as complete, atomically.

    Args:
        task: Video and its pose file, which must have been written completely.
        content: Estimation inputs, size of the pose file and statistics, as plain values.
    """
    temp_path = task.note_path.with_name(f".{task.note_path.name}")
    temp_path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    temp_path.replace(task.note_path)


def _has_frame_per_pose(source: Path, fps: float | None, note: Mapping[str, Any]) -> bool:
    """Return whether the frames of a video at its rate are those of the file, as a note has them.

    Args:
        source: Path of the video, a file or a folder of images.
        fps: Frame rate that the recipe states, or None.
        note: Note without the key `frames_by`, whose poses were estimated from every frame.
    """
    if source.is_dir():
        return True
    try:
        times = read_source_times(source, fps)
    except VideoError:
        return False
    # Rates may differ in the last bit, as a quotient of other numbers.
    has_same_rate = abs(times.fps - float(note.get("fps") or 0)) < 1e-6
    return times.is_constant and has_same_rate and times.num_frames == note.get("frames")


def _iter_tasks(path: Path, output_dir: Path) -> Iterator[PoseEstimationTask]:
    """Yield a task for each video at or below a path, sorted by path.

    Args:
        path: Absolute path of a video file, a folder of images, or a folder that contains either.
        output_dir: Absolute path of the folder below which pose files are written.

    Raises:
        InputError: If the path does not exist.
    """
    if path.is_file():
        # A number after the last dot, as in `clip-00:00:18.285`, is no suffix.
        stem = path.name if path.suffix[1:].isdigit() else path.stem
        yield PoseEstimationTask(path, output_dir / f"{stem}.pose", path.name)
    elif not path.is_dir():
        raise InputError(f"`{path}` does not exist")
    elif has_images(path):
        yield PoseEstimationTask(path, output_dir / f"{path.name}.pose", path.name)
    else:
        for child in sorted(path.rglob("*")):
            relative_path = child.relative_to(path)
            if is_video_file(child.name) and child.is_file():
                pose_name = relative_path.with_suffix(".pose")
            elif has_images(child):
                pose_name = relative_path.with_name(f"{relative_path.name}.pose")
            else:
                continue
            yield PoseEstimationTask(child, output_dir / pose_name, relative_path.as_posix())
