"""Videos whose poses are estimated: discovery, existing poses, and notes beside the poses.

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
from kinesweep.core.video_files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, has_images, is_video_file
from kinesweep.features.estimators import EstimatorSpec


@dataclass(frozen=True)
class PoseEstimationTask:
    """A video whose poses are to be estimated.

    Attributes:
        source: Absolute path of the file or folder.
        out: Path of its `.pose` file.
        name: Name used in reports.
    """

    source: Path
    out: Path
    name: str

    @property
    def note_path(self) -> Path:
        """Return the path of the note beside the poses."""
        return self.out.with_name(f"{self.out.name}.json")


def find_videos(inputs: Sequence[Path], out: Path) -> list[PoseEstimationTask]:
    """Find the given videos and all videos below the given folders; return them in order.

    Args:
        inputs: Video files, folders of images, or folders that contain either.
        out: Folder below which poses are written.

    Raises:
        InputError: If an input does not exist, no video is found, or two videos share an output
            file.
    """
    tasks = [video for path in inputs for video in _iter_videos(path.absolute(), out.absolute())]
    if not tasks:
        raise InputError(
            f"no video found in {', '.join(f'`{path}`' for path in inputs)}: neither a file with"
            f" the suffix {', '.join(VIDEO_SUFFIXES)} nor a folder of images"
        )
    # The same video may be given twice, for example directly and through its folder.
    tasks_by_output: dict[Path, PoseEstimationTask] = {}
    for video in tasks:
        existing = tasks_by_output.setdefault(video.out, video)
        if existing.source != video.source:
            raise InputError(
                f"`{existing.source}` and `{video.source}` would both be written to `{video.out}`;"
                " estimate them into separate output folders"
            )
    return list(tasks_by_output.values())


def has_valid_poses(video: PoseEstimationTask, spec: EstimatorSpec, fps: float | None) -> bool:
    """Return whether a video has poses that match its file, the estimator and the frame rate."""
    try:
        note = json.loads(video.note_path.read_text(encoding="utf-8"))
        # The size reveals a `.pose` file that was replaced or truncated after its note was written.
        size = video.out.stat().st_size
    except (OSError, ValueError):
        return False
    expected = {**get_estimation_inputs(video, spec, fps), "pose_bytes": size}
    return isinstance(note, dict) and all(note.get(key) == expected[key] for key in expected)


def get_estimation_inputs(
    video: PoseEstimationTask, spec: EstimatorSpec, fps: float | None
) -> dict[str, Any]:
    """Return the properties of video and estimator that determine the poses, as in the note.

    Args:
        video: Video, file or folder of images.
        spec: Pose estimator.
        fps: Frame rate of folders of images in Hz; ignored for files.
    """
    files = [video.source]
    if video.source.is_dir():
        files = [path for path in video.source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    stats = [path.stat() for path in files]
    return {
        "source": video.name,
        "source_files": len(files),
        "source_bytes": sum(stat.st_size for stat in stats),
        "source_mtime_ns": max(stat.st_mtime_ns for stat in stats),
        "given_fps": fps if video.source.is_dir() else None,
        "estimator": spec.name,
        "estimator_version": spec.version,
        "estimator_fingerprint": spec.fingerprint,
        "requirements": list(spec.requirements),
    }


def write_estimation_note(video: PoseEstimationTask, content: Mapping[str, Any]) -> None:
    """Write the note that marks the poses of a video as complete, atomically."""
    temp_path = video.note_path.with_name(f".{video.note_path.name}")
    temp_path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    temp_path.replace(video.note_path)


def _iter_videos(path: Path, out: Path) -> Iterator[PoseEstimationTask]:
    """Yield the videos at or below a path, with output paths below `out`."""
    if path.is_file():
        yield PoseEstimationTask(path, out / f"{path.stem}.pose", path.name)
    elif not path.is_dir():
        raise InputError(f"`{path}` does not exist")
    elif has_images(path):
        yield PoseEstimationTask(path, out / f"{path.name}.pose", path.name)
    else:
        for child in sorted(path.rglob("*")):
            relative_path = child.relative_to(path)
            if is_video_file(child.name) and child.is_file():
                yield PoseEstimationTask(
                    child, out / relative_path.with_suffix(".pose"), relative_path.as_posix()
                )
            elif has_images(child):
                name = relative_path.with_name(f"{relative_path.name}.pose")
                yield PoseEstimationTask(child, out / name, relative_path.as_posix())
