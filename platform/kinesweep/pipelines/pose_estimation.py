"""Pose estimation of videos: those of a folder, or those of a recipe's corpus."""

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, InputError
from kinesweep.features.estimators import EstimatorSpec, find_estimator
from kinesweep.features.estimators.smpl.configured import build_estimator_spec
from kinesweep.pipelines.cluster import ray_cluster
from kinesweep.pipelines.progress import show_progress_bar
from kinesweep.sources import build_source
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.store.pose_estimation.estimate import PoseEstimationResult, estimate_poses_on_ray
from kinesweep.store.pose_estimation.tasks import (
    PoseEstimationTask,
    build_pose_estimation_tasks,
    has_valid_poses,
)

logger = logging.getLogger(__name__)

DEFAULT_ESTIMATOR = "mediapipe"


def estimate_missing_poses(
    tasks: Sequence[PoseEstimationTask], estimator: EstimatorSpec, fps: float | None
) -> PoseEstimationResult:
    """Estimate the poses of all videos that have no valid poses yet, on Ray.

    This process is connected to Ray if there is work to do. Failed videos do not raise an error.
    Logs the number of videos to estimate, each failed video with its reason, the speed, and the
    numbers of written, kept and failed videos.

    Args:
        tasks: Videos and their output files.
        estimator: Pose estimator.
        fps: Frames per second of folders of images, and rate at which the frames of video files are
            chosen; None for their own rates.

    Raises:
        ResourceError: If the cluster has no CPU, or if the environment of the estimator cannot be
            created.
    """
    num_missing = sum(not has_valid_poses(video, estimator, fps) for video in tasks)
    logger.info(
        f"{len(tasks)} videos: {num_missing} to estimate with {estimator.name} {estimator.version}"
    )
    # Ray is started only if there is work to do.
    if num_missing:
        ray_cluster.connect_to_ray()
    with show_progress_bar("estimate") as update:
        result = estimate_poses_on_ray(tasks, estimator, fps, update)
    for video_name, (reason, message) in result.failed.items():
        logger.info(f"{reason}  {video_name}: {message}")
    if result.written:
        logger.info(
            f"{result.frames} frames: {result.frames / result.seconds:.1f} per second and worker,"
            f" {result.frames / result.core_seconds:.1f} per core second"
        )
    reason_counts = ", ".join(
        f"{count} {reason}" for reason, count in result.failure_counts.items()
    )
    failure_text = f"{len(result.failed)} failed" + (f" ({reason_counts})" if reason_counts else "")
    logger.info(f"{result.written} written, {result.kept} kept, {failure_text}")
    return result


def estimate_corpus_poses(recipe: Recipe) -> None:
    """Estimate the missing poses of the videos in a recipe's corpus, as `source.videos` requests.

    Nothing is done without `source.videos`. A clip whose video is missing or unusable is skipped
    here; extraction drops and counts it. Logs what `estimate_missing_poses` logs.

    Raises:
        InputError: If the estimator does not exist, or if `source.videos` has no video of a clip.
        ResourceError: If the cluster has no CPU, or if the environment of the estimator cannot be
            created.
        SourceError: If the tables of the corpus have errors.
    """
    source = recipe.pose_estimation_source
    if source is not None:
        tasks, estimator = _find_corpus_videos(recipe), _find_recipe_estimator(recipe)
        estimate_missing_poses(tasks, estimator, source.fps)


def estimate_remaining_pose_seconds(recipe: Recipe) -> float:
    """Estimate the seconds to estimate a recipe's missing poses on the connected Ray cluster.

    The result is based on the mean time of finished videos; for several parts of features, it is
    the sum of all. It is 0 if no poses are missing, if no
    video is finished, or without `source.videos`.

    Raises:
        InputError: If the estimator does not exist, or if `source.videos` has no video of a clip.
        SourceError: If the tables of the corpus have errors.
    """
    if recipe.part_recipes:
        return sum(estimate_remaining_pose_seconds(part) for _, part in recipe.part_recipes)
    if recipe.pose_estimation_source is None:
        return 0.0
    spec, fps = _find_recipe_estimator(recipe), recipe.pose_estimation_source.fps
    videos = _find_corpus_videos(recipe)
    finished_videos = [video for video in videos if has_valid_poses(video, spec, fps)]
    durations_s = [
        float(json.loads(video.note_path.read_text())["seconds"]) for video in finished_videos
    ]
    # Without any finished video there is no measurement, and the estimate is 0.
    return (
        (len(videos) - len(finished_videos))
        * fmean(durations_s or [0.0])
        / ray_cluster.get_num_cluster_cores()
    )


def _find_recipe_estimator(recipe: Recipe) -> EstimatorSpec:
    """Find the pose estimator that a recipe's source or features name, or the default one.

    Raises:
        InputError: If there is no such estimator, or it lacks a file.
    """
    joint_estimator = getattr(recipe.source, "estimator", None)
    if joint_estimator is not None:
        return build_estimator_spec(joint_estimator)
    return find_estimator(getattr(recipe.features, "estimator", None) or DEFAULT_ESTIMATOR)


def _find_corpus_videos(recipe: Recipe) -> list[PoseEstimationTask]:
    """Find the videos that belong to clips of a recipe's corpus, each with its output file.

    Raises:
        InputError: If `source.videos` does not exist or has no video of a clip.
        SourceError: If the tables of the corpus have errors.
    """
    corpus = recipe.effective_source
    assert isinstance(corpus, PoseTsvConfig | SkeletonsConfig)
    folder = corpus.motions if isinstance(corpus, SkeletonsConfig) else corpus.root
    root, source = Path(folder or "").absolute(), build_source(corpus)
    clips = [clip for split in source.list_splits() for clip in source.list_clips(split)]
    pose_paths = {root / clip.media for clip in clips}
    if isinstance(source, SkeletonsSource):
        pose_paths |= {root / media for media in _list_reference_media(source, clips)}
    # A video belongs to a clip if its pose file would be the clip's media file.
    videos = build_pose_estimation_tasks([Path(corpus.videos or "")], root)
    corpus_videos = [video for video in videos if video.pose_path in pose_paths]
    if not corpus_videos:
        raise InputError(
            f"`source.videos` is `{corpus.videos}`, which contains no video of any clip"
        )
    return corpus_videos


def _list_reference_media(source: SkeletonsSource, clips: Sequence[Clip]) -> set[str]:
    """Return the `media` of the reference motions of clips, as far as they can be found."""
    media = {clip.media for clip in source.list_reference_motion_clips(clips)}
    for clip in clips:
        # Extraction drops and counts a clip whose reference motion cannot be found.
        with suppress(ClipError):
            unlisted = source.find_unlisted_reference_media(clip)
            media |= set() if unlisted is None else {unlisted}
    return media
