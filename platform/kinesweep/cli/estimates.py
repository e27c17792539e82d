"""Videos to poses, for the verb that does it and for recipes whose corpus is films."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from kinesweep.cli import cluster
from kinesweep.cli.output import progress, say
from kinesweep.core.errors import InputError
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.source import PoseTsvConfig
from kinesweep.features.estimators import EstimatorSpec, find_estimator
from kinesweep.sources import build_source
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
    if recipe.films is not None:
        estimate_all(_videos(recipe), _spec(recipe), recipe.films.fps)


def left_to_estimate_s(recipe: Recipe) -> float:
    """Seconds that the videos which are not estimated yet will take, as those before them did."""
    if recipe.films is None:
        return 0.0
    spec, fps = _spec(recipe), recipe.films.fps
    videos = _videos(recipe)
    done = [video for video in videos if is_done(video, spec, fps)]
    took = [float(json.loads(video.note.read_text())["seconds"]) for video in done]
    return (len(videos) - len(done)) * fmean(took or [0.0]) / cluster.cores()


def _spec(recipe: Recipe) -> EstimatorSpec:
    return find_estimator(getattr(recipe.features, "estimator", None) or DEFAULT)


def _videos(recipe: Recipe) -> list[Video]:
    """The videos of a recipe's clips.

    Raises:
        InputError: there is none.
    """
    corpus = recipe.corpus
    assert isinstance(corpus, PoseTsvConfig)
    root, source = Path(corpus.root or "").absolute(), build_source(corpus)
    wanted = {root / clip.media for split in source.splits() for clip in source.clips(split)}
    films = find_videos([Path(corpus.videos or "")], root)
    found = [video for video in films if video.out in wanted]
    if not found:
        raise InputError(f"`source.videos` is `{corpus.videos}`, where no clip has its video")
    return found
