"""Videos to poses on Ray Data: an actor a core, each with a process of the estimator.

What is done is not done again, and a worker that dies costs the videos that it had in hand. Errors
are those of a video: counted with their reasons, the others go on.
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
from kinesweep.features.estimators.environment import environment_python
from kinesweep.features.estimators.process import EstimatorProcess
from kinesweep.store.build import Progress
from kinesweep.store.quiet import calm, quiet
from kinesweep.store.videos import Video, is_done, source_facts, write_note

_MOST_BLOCKS = 1000


@dataclass(frozen=True)
class Estimated:
    """What came of it.

    Attributes:
        written: videos whose poses were written now.
        kept: videos that had theirs.
        failed: name → reason and message.
        frames: of those written.
        seconds: workers took for them, together.
        core_seconds: processors took for them.
    """

    written: int
    kept: int
    failed: dict[str, tuple[str, str]]
    frames: int
    seconds: float
    core_seconds: float

    @property
    def reasons(self) -> dict[str, int]:
        """Reason → videos."""
        return dict(Counter(reason for reason, _ in self.failed.values()))


def estimate_videos(
    videos: Sequence[Video],
    spec: EstimatorSpec,
    fps: float | None = None,
    progress: Progress | None = None,
) -> Estimated:
    """Estimates on the running Ray what is not estimated yet; starts nothing if that is nothing.

    Args:
        videos: of `find_videos`.
        spec: the estimator.
        fps: of folders of frames.
        progress: told (done, of all).

    Raises:
        ResourceError: the cluster has no CPU, or the estimator's environment cannot be made.
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
    """The actor."""

    def __init__(self, videos: Sequence[Video], spec: EstimatorSpec, fps: float | None) -> None:
        self._videos, self._spec, self._fps = videos, spec, fps
        self._estimate = EstimatorProcess(spec)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"answer": [json.dumps(self._one(self._videos[n])) for n in batch["id"].tolist()]}

    def _one(self, video: Video) -> dict[str, Any]:
        try:
            facts = source_facts(video, self._spec, self._fps)
            made = self._estimate(video.source, video.out, self._fps)
        except ClipError as error:
            return {"name": video.name, "reason": error.reason, "message": str(error)}
        except OSError as error:
            return {"name": video.name, "reason": "unreadable", "message": str(error)}
        write_note(video, {**facts, **made})
        return {"name": video.name, **made}


def _answers(
    videos: Sequence[Video], spec: EstimatorSpec, fps: float | None, progress: Progress | None
) -> list[dict[str, Any]]:
    """What the workers say of each video."""
    workers = min(len(videos), int(ray.cluster_resources().get("CPU", 0)))
    if workers < 1:
        raise ResourceError("the Ray cluster has no CPU; estimation needs at least one")
    environment_python(spec.name, spec.requirements)  # made once, before many would wait for it
    blocks = min(len(videos), _MOST_BLOCKS)
    # Items are there already; to make them a task would wait for a core that an actor has.
    items = [{"id": number} for number in range(len(videos))]
    numbers = calm(ray.data.from_items(items, override_num_blocks=blocks))
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
