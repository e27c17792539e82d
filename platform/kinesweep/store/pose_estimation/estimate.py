"""Pose estimation from videos on Ray Data: one actor per core, each with its own estimator process.

Videos that already have poses are skipped, and a worker that dies loses only the videos it was
processing. Errors concern single videos: they are counted by reason while the other videos
continue.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.data

from kinesweep.core.errors import ClipError, ResourceError
from kinesweep.features.estimators import EstimatorSpec
from kinesweep.features.estimators.subprocess_worker import EstimatorProcess
from kinesweep.features.estimators.virtualenv import get_environment_python
from kinesweep.store.extraction.build import ClipProgressCallback
from kinesweep.store.extraction.ray_logging import disable_dataset_progress, silence_ray_data
from kinesweep.store.pose_estimation.tasks import (
    PoseEstimationTask,
    collect_estimation_inputs,
    has_valid_poses,
    write_estimation_note,
)

_MAX_BLOCKS = 1000
"""Largest number of Ray Data blocks among which the videos are divided."""


@dataclass(frozen=True)
class PoseEstimationResult:
    """The result of estimating the poses of videos.

    Attributes:
        written: Number of videos whose poses were written by this call.
        kept: Number of videos that already had valid poses.
        failed: Name of a video that could not be used → reason and message.
        frames: Number of frames of the written videos.
        seconds: Wall-clock time spent on the written videos in seconds, summed over workers.
        core_seconds: CPU time spent on the written videos in seconds, summed over workers.
    """

    written: int
    kept: int
    failed: dict[str, tuple[str, str]]
    frames: int
    seconds: float
    core_seconds: float

    @property
    def failure_counts(self) -> dict[str, int]:
        """Return reason → number of videos that failed for it."""
        return dict(Counter(reason for reason, _ in self.failed.values()))


def estimate_poses_on_ray(
    tasks: Sequence[PoseEstimationTask],
    spec: EstimatorSpec,
    fps: float | None = None,
    progress: ClipProgressCallback | None = None,
) -> PoseEstimationResult:
    """Estimate the poses of videos on the running Ray cluster; videos with valid poses are skipped.

    No worker is started if all videos have valid poses.

    Args:
        tasks: Videos and their pose files, as returned by `build_pose_estimation_tasks`.
        spec: Pose estimator.
        fps: Frame rate of folders of images in Hz, and rate at which the frames of video files are
            chosen; None for their own rates.
        progress: Callback that receives the numbers of finished videos and of all videos without
            valid poses, after every video.

    Raises:
        ResourceError: If the cluster has no CPU or the estimator's environment cannot be created.
    """
    remaining_tasks = [task for task in tasks if not has_valid_poses(task, spec, fps)]
    reports = _run_estimation_workers(remaining_tasks, spec, fps, progress)
    successes = [report for report in reports if "reason" not in report]
    failures = [report for report in reports if "reason" in report]
    return PoseEstimationResult(
        written=len(successes),
        kept=len(tasks) - len(remaining_tasks),
        failed={report["name"]: (report["reason"], report["message"]) for report in failures},
        frames=sum(report["frames"] for report in successes),
        seconds=sum(report["seconds"] for report in successes),
        core_seconds=sum(report["core_seconds"] for report in successes),
    )


class _PoseEstimationWorker:
    """A Ray Data actor that estimates one video after another with one estimator process.

    Args:
        tasks: All videos without valid poses.
        spec: Pose estimator.
        fps: Frame rate of folders of images in Hz, and rate at which the frames of video files are
            chosen; None for their own rates.
    """

    def __init__(
        self, tasks: Sequence[PoseEstimationTask], spec: EstimatorSpec, fps: float | None
    ) -> None:
        self._tasks, self._spec, self._fps = tasks, spec, fps
        self._estimator = EstimatorProcess(spec)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        task_indices: list[int] = batch["id"].tolist()
        reports = [self._estimate_video(self._tasks[index]) for index in task_indices]
        return {"answer": [json.dumps(report) for report in reports]}

    def _estimate_video(self, task: PoseEstimationTask) -> dict[str, Any]:
        """Estimate the poses of a video, write them with their note, and return a report.

        Returns:
            `name` of the video with the statistics of the estimator, such as `frames`, `seconds`
            and `core_seconds`; or, if the video cannot be used, with `reason` and `message`.
        """
        try:
            # Read before estimation: if the video changes meanwhile, the note does not match and
            # the video is estimated again.
            inputs = collect_estimation_inputs(task, self._spec, self._fps)
            statistics = self._estimator(task.source, task.pose_path, self._fps)
        except ClipError as error:
            return {"name": task.name, "reason": error.reason, "message": str(error)}
        except OSError as error:
            return {"name": task.name, "reason": "unreadable", "message": str(error)}
        # The note marks the poses as complete, so it is written last.
        write_estimation_note(task, {**inputs, **statistics})
        return {"name": task.name, **statistics}


def _run_estimation_workers(
    tasks: Sequence[PoseEstimationTask],
    spec: EstimatorSpec,
    fps: float | None,
    progress: ClipProgressCallback | None,
) -> list[dict[str, Any]]:
    """Estimate the poses of videos on an actor pool, which is not started if there are no videos.

    Args:
        tasks: Videos and their pose files.
        spec: Pose estimator.
        fps: Frame rate of folders of images in Hz, and rate at which the frames of video files are
            chosen; None for their own rates.
        progress: Callback that receives the numbers of finished and of all videos.

    Returns:
        Report of each video (`_PoseEstimationWorker._estimate_video`), in the order of completion.

    Raises:
        ResourceError: If the cluster has no CPU or the estimator's environment cannot be created.
    """
    if not tasks:
        return []
    resources = ray.cluster_resources()
    max_workers = min(len(tasks), int(resources.get("CPU", 0)))
    if max_workers < 1:
        raise ResourceError("the Ray cluster has no CPU; estimation needs at least one")
    if spec.gpus:
        max_workers = min(max_workers, int(resources.get("GPU", 0) / spec.gpus))
        if max_workers < 1:
            raise ResourceError(
                f"the estimator `{spec.name}` asks for {spec.gpus:g} GPUs per process, but the Ray"
                f" cluster has {resources.get('GPU', 0):g}; set `source.estimator.gpus` to 0"
            )
    # Create the environment once here; otherwise all workers would wait for the first to create it.
    if spec.python is None:
        get_environment_python(spec.name, spec.requirements)
    num_blocks = min(len(tasks), _MAX_BLOCKS)
    # `from_items` needs no task. A read task would have to wait for a core, and the actors hold all
    # of them.
    items = [{"id": task_index} for task_index in range(len(tasks))]
    dataset = disable_dataset_progress(ray.data.from_items(items, override_num_blocks=num_blocks))
    reports: list[dict[str, Any]] = []
    with silence_ray_data():
        result_rows = dataset.map_batches(
            _PoseEstimationWorker,
            batch_size=1,
            num_cpus=1,
            num_gpus=spec.gpus or None,
            fn_constructor_args=(tasks, spec, fps),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max_workers),
        )
        for row in result_rows.iter_rows():
            reports.append(json.loads(row["answer"]))
            if progress is not None:
                progress(len(reports), len(tasks))
    return reports
