"""Videos to poses, for the verb that does it and for recipes whose corpus is films."""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.cli import cluster
from kinesweep.cli.output import progress, say
from kinesweep.core.errors import InputError
from kinesweep.core.recipe import Recipe
from kinesweep.features.estimators import EstimatorSpec, find_estimator
from kinesweep.store.estimate import Estimated, estimate_videos
from kinesweep.store.videos import Video, find_videos, is_done

DEFAULT = "mediapipe"


def estimate_all(videos: Sequence[Video], spec: EstimatorSpec, fps: float | None) -> Estimated:
    """Estimates what is not estimated yet, and says what came of it."""
    todo = sum(not is_done(video, spec, fps) for video in videos)
    say(f"{len(videos)} videos: {todo} to estimate with {spec.name} {spec.version}")
    if todo:
        cluster.connect()
    with progress("estimate") as update:
        done = estimate_videos(videos, spec, fps, update)
    for name, (reason, message) in done.failed.items():
        say(f"{reason}  {name}: {message}")
    if done.written:
        say(
            f"{done.frames} frames: {done.frames / done.seconds:.1f} a second and worker,"
            f" {done.frames / done.core_seconds:.1f} a second of a core"
        )
    counted = ", ".join(f"{count} {reason}" for reason, count in done.reasons.items())
    failed = f"{len(done.failed)} failed" + (f" ({counted})" if counted else "")
    say(f"{done.written} written, {done.kept} kept, {failed}")
    return done


def estimate_corpus(recipe: Recipe) -> None:
    """Estimates the videos that a recipe's clips name; does nothing where they are pose files.

    A clip whose video is not there, or cannot be used, is left to extraction, which counts it.

    Raises:
        InputError: there is no such estimator, or no video.
    """
    from kinesweep.sources import build_source

    corpus = recipe.corpus
    if corpus.videos is None:
        return
    root, source = Path(corpus.root or "").absolute(), build_source(corpus)
    wanted = {root / clip.media for split in source.splits() for clip in source.clips(split)}
    found = [video for video in find_videos([Path(corpus.videos)], root) if video.out in wanted]
    if not found:
        raise InputError(f"`source.videos` is `{corpus.videos}`, where no clip has its video")
    estimate_all(found, find_estimator(recipe.features.estimator or DEFAULT), corpus.fps)
