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
from kinesweep.features.estimators.virtualenv import environment_python
from kinesweep.store.extraction.build import Progress
from kinesweep.store.extraction.ray_logging import quiet, silence_dataset_progress
from kinesweep.store.pose_estimation.videos import Video, is_done, source_facts, write_note

_MOST_BLOCKS = 1000


@dataclass(frozen=True)
class Estimated:
    """The result of an estimation.

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
    def reasons(self) -> dict[str, int]:
        """Return reason → number of failed videos."""
        return dict(Counter(reason for reason, _ in self.failed.values()))


def estimate_videos(
    videos: Sequence[Video],
    spec: EstimatorSpec,
    fps: float | None = None,
    progress: Progress | None = None,
) -> Estimated:
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
    todo = [video for video in videos if not is_done(video, spec, fps)]
    answers = _answers(todo, spec, fps, progress) if todo else []
    made = [answer for answer in answers if "reason" not in answer]
    return Estimated(
        written=len(made),
        kept=len(videos) - len(todo),
        failed={a["name"]: (a["reason"], a["message"]) for a in answers if "reason" in a},
        frames=sum(answer["frames"] for answer in made),
        seconds=sum(answer["seconds"] for answer in made),
        core_seconds=sum(answer["core_seconds"] for answer in made),
    )


class _Worker:
    """A Ray Data actor that estimates one video after another with one estimator process."""

    def __init__(self, videos: Sequence[Video], spec: EstimatorSpec, fps: float | None) -> None:
        self._videos, self._spec, self._fps = videos, spec, fps
        self._estimate = EstimatorProcess(spec)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"answer": [json.dumps(self._one(self._videos[n])) for n in batch["id"].tolist()]}

    def _one(self, video: Video) -> dict[str, Any]:
        """Estimate one video; return its facts, or the reason and message of its failure."""
        try:
            # Read before estimation: if the video changes meanwhile, the note does not match and
            # the video is estimated again.
            facts = source_facts(video, self._spec, self._fps)
            made = self._estimate(video.source, video.out, self._fps)
        except ClipError as error:
            return {"name": video.name, "reason": error.reason, "message": str(error)}
        except OSError as error:
            return {"name": video.name, "reason": "unreadable", "message": str(error)}
        # The note marks the poses as complete, so it is written last.
        write_note(video, {**facts, **made})
        return {"name": video.name, **made}


def _answers(
    videos: Sequence[Video], spec: EstimatorSpec, fps: float | None, progress: Progress | None
) -> list[dict[str, Any]]:
    """Return the workers' answer for each video."""
    workers = min(len(videos), int(ray.cluster_resources().get("CPU", 0)))
    if workers < 1:
        raise ResourceError("the Ray cluster has no CPU; estimation needs at least one")
    # Create the environment once here; otherwise all workers would wait for the first to create it.
    environment_python(spec.name, spec.requirements)
    blocks = min(len(videos), _MOST_BLOCKS)
    # `from_items` needs no task. A read task would have to wait for a core, and the actors hold all
    # of them.
    items = [{"id": number} for number in range(len(videos))]
    numbers = silence_dataset_progress(ray.data.from_items(items, override_num_blocks=blocks))
    found = []
    with quiet():
        answers = numbers.map_batches(
            _Worker,
            batch_size=1,
            num_cpus=1,
            fn_constructor_args=(videos, spec, fps),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        )
        for row in answers.iter_rows():
            found.append(json.loads(row["answer"]))
            if progress is not None:
                progress(len(found), len(videos))
    return found
