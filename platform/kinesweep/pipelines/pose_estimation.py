"""Pose estimation of videos: those of a folder, or those of a recipe's corpus."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.errors import InputError
from kinesweep.features.estimators import EstimatorSpec, find_estimator
from kinesweep.pipelines.cluster import ray_cluster
from kinesweep.pipelines.progress import progress_bar
from kinesweep.sources import build_source
from kinesweep.store.pose_estimation.estimate import Estimated, estimate_videos
from kinesweep.store.pose_estimation.videos import Video, find_videos, is_done

logger = logging.getLogger(__name__)

DEFAULT = "mediapipe"


def estimate_all(videos: Sequence[Video], spec: EstimatorSpec, fps: float | None) -> Estimated:
    """Estimate the poses of those videos that have none yet, and print a summary.

    Args:
        videos: Videos and their output files.
        spec: Pose estimator.
        fps: Frames per second of folders of images; None: there are none.
    """
    todo = sum(not is_done(video, spec, fps) for video in videos)
    logger.info(f"{len(videos)} videos: {todo} to estimate with {spec.name} {spec.version}")
    # Ray is started only if there is work to do.
    if todo:
        ray_cluster.connect()
    with progress_bar("estimate") as update:
        done = estimate_videos(videos, spec, fps, update)
    for name, (reason, message) in done.failed.items():
        logger.info(f"{reason}  {name}: {message}")
    if done.written:
        logger.info(
            f"{done.frames} frames: {done.frames / done.seconds:.1f} per second and worker,"
            f" {done.frames / done.core_seconds:.1f} per core second"
        )
    counted = ", ".join(f"{count} {reason}" for reason, count in done.reasons.items())
    failed = f"{len(done.failed)} failed" + (f" ({counted})" if counted else "")
    logger.info(f"{done.written} written, {done.kept} kept, {failed}")
    return done


def estimate_corpus(recipe: Recipe) -> None:
    """Estimate the poses of the videos in a recipe's corpus; do nothing if it consists of poses.

    A clip whose video is missing or unusable is skipped here; extraction drops and counts it.

    Raises:
        InputError: If the estimator does not exist or if no video is found.
    """
    if recipe.video_source is not None:
        estimate_all(_videos(recipe), _spec(recipe), recipe.video_source.fps)


def remaining_estimation_seconds(recipe: Recipe) -> float:
    """Estimate the seconds for the remaining videos, from the mean of those already done."""
    if recipe.video_source is None:
        return 0.0
    spec, fps = _spec(recipe), recipe.video_source.fps
    videos = _videos(recipe)
    done = [video for video in videos if is_done(video, spec, fps)]
    took = [float(json.loads(video.note.read_text())["seconds"]) for video in done]
    # Without any finished video there is no measurement, and the estimate is 0.
    return (len(videos) - len(done)) * fmean(took or [0.0]) / ray_cluster.cores()


def _spec(recipe: Recipe) -> EstimatorSpec:
    """Return the estimator of a recipe's features, or the default one."""
    return find_estimator(getattr(recipe.features, "estimator", None) or DEFAULT)


def _videos(recipe: Recipe) -> list[Video]:
    """Return the videos that belong to clips of a recipe's corpus.

    Raises:
        InputError: If there is none.
    """
    corpus = recipe.corpus
    assert isinstance(corpus, PoseTsvConfig)
    root, source = Path(corpus.root or "").absolute(), build_source(corpus)
    wanted = {root / clip.media for split in source.splits() for clip in source.clips(split)}
    # A video belongs to a clip if its pose file would be the clip's media file.
    films = find_videos([Path(corpus.videos or "")], root)
    found = [video for video in films if video.out in wanted]
    if not found:
        raise InputError(
            f"`source.videos` is `{corpus.videos}`, which contains no video of any clip"
        )
    return found
