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
from kinesweep.store.pose_estimation.videos import (
    PoseEstimationTask,
    get_estimation_inputs,
    has_valid_poses,
    write_estimation_note,
)

_MAX_BLOCKS = 1000


@dataclass(frozen=True)
class PoseEstimationResult:
    """The result of estimating the poses of videos.

    Attributes:
        written: Number of videos whose poses were written by this call.
        kept: Number of videos that already had poses.
        failed: Name of the video → reason and message.
        frames: Total frames of the written videos.
        seconds: Wall-clock time spent on the written videos in seconds, summed over workers.
        core_seconds: CPU time spent on the written videos in seconds.
    """

    written: int
    kept: int
    failed: dict[str, tuple[str, str]]
    frames: int
    seconds: float
    core_seconds: float

    @property
    def failure_counts(self) -> dict[str, int]:
        """Return the number of failed videos by reason."""
        return dict(Counter(reason for reason, _ in self.failed.values()))


def estimate_poses_on_ray(
    videos: Sequence[PoseEstimationTask],
    spec: EstimatorSpec,
    fps: float | None = None,
    progress: ClipProgressCallback | None = None,
) -> PoseEstimationResult:
    """Estimate the poses of videos on the running Ray cluster; skip videos that are done.

    No worker is started if all videos are done.

    Args:
        videos: Videos as returned by `find_videos`.
        spec: Pose estimator.
        fps: Frame rate of folders of images in Hz.
        progress: Callback that receives the number of finished videos and the total.

    Raises:
        ResourceError: If the cluster has no CPU or the estimator's environment cannot be created.
    """
    remaining = [video for video in videos if not has_valid_poses(video, spec, fps)]
    results = _run_estimation_workers(remaining, spec, fps, progress) if remaining else []
    successes = [answer for answer in results if "reason" not in answer]
    return PoseEstimationResult(
        written=len(successes),
        kept=len(videos) - len(remaining),
        failed={a["name"]: (a["reason"], a["message"]) for a in results if "reason" in a},
        frames=sum(answer["frames"] for answer in successes),
        seconds=sum(answer["seconds"] for answer in successes),
        core_seconds=sum(answer["core_seconds"] for answer in successes),
    )


class _PoseEstimationWorker:
    """A Ray Data actor that estimates one video after another with one estimator process."""

    def __init__(
        self, videos: Sequence[PoseEstimationTask], spec: EstimatorSpec, fps: float | None
    ) -> None:
        self._videos, self._spec, self._fps = videos, spec, fps
        self._estimator = EstimatorProcess(spec)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {
            "answer": [
                json.dumps(self._estimate_video(self._videos[n])) for n in batch["id"].tolist()
            ]
        }

    def _estimate_video(self, video: PoseEstimationTask) -> dict[str, Any]:
        """Estimate the poses of a video; return its statistics, or the reason of its failure."""
        try:
            # Read before estimation: if the video changes meanwhile, the note does not match and
            # the video is estimated again.
            inputs = get_estimation_inputs(video, self._spec, self._fps)
            statistics = self._estimator(video.source, video.out, self._fps)
        except ClipError as error:
            return {"name": video.name, "reason": error.reason, "message": str(error)}
        except OSError as error:
            return {"name": video.name, "reason": "unreadable", "message": str(error)}
        # The note marks the poses as complete, so it is written last.
        write_estimation_note(video, {**inputs, **statistics})
        return {"name": video.name, **statistics}


def _run_estimation_workers(
    videos: Sequence[PoseEstimationTask],
    spec: EstimatorSpec,
    fps: float | None,
    progress: ClipProgressCallback | None,
) -> list[dict[str, Any]]:
    """Estimate videos on an actor pool; return the result of each, in the order of completion."""
    workers = min(len(videos), int(ray.cluster_resources().get("CPU", 0)))
    if workers < 1:
        raise ResourceError("the Ray cluster has no CPU; estimation needs at least one")
    # Create the environment once here; otherwise all workers would wait for the first to create it.
    get_environment_python(spec.name, spec.requirements)
    blocks = min(len(videos), _MAX_BLOCKS)
    # `from_items` needs no task. A read task would have to wait for a core, and the actors hold all
    # of them.
    items = [{"id": number} for number in range(len(videos))]
    video_numbers = disable_dataset_progress(ray.data.from_items(items, override_num_blocks=blocks))
    results = []
    with silence_ray_data():
        result_rows = video_numbers.map_batches(
            _PoseEstimationWorker,
            batch_size=1,
            num_cpus=1,
            fn_constructor_args=(videos, spec, fps),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        )
        for row in result_rows.iter_rows():
            results.append(json.loads(row["answer"]))
            if progress is not None:
                progress(len(results), len(videos))
    return results
