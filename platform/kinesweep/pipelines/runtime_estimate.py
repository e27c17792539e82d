"""Runtime estimates: the time of a full run or sweep, extrapolated from a dry run's measurements.

Every estimate is for the same CPUs and ignores early stopping and pruning, so it is an upper limit.
A part that could not be measured counts as 0; evaluations and decoding are then named in the log.
"""

import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import EffectiveBatchConfig
from kinesweep.config.recipe.features.feature_epochs import list_part_recipes
from kinesweep.core.errors import ClipError
from kinesweep.core.units import format_duration
from kinesweep.data.bucketing import DEFAULT_MAX_FRAMES
from kinesweep.data.length_limits import count_clip_frames, filter_clips_by_length
from kinesweep.data.run_length.step_counts import count_steps_per_epoch, resolve_steps
from kinesweep.features import build_features
from kinesweep.pipelines.cluster import ray_cluster
from kinesweep.pipelines.pose_estimation import estimate_remaining_pose_seconds
from kinesweep.sources import build_source
from kinesweep.store import Store
from kinesweep.store.extraction.plan import summarize_extraction_plan
from kinesweep.sweeps.planning.step_timer import StepTiming
from kinesweep.sweeps.space.space import SearchSpace

logger = logging.getLogger(__name__)

# Enough clips for a mean time, few enough to be read one after the other.
_NUM_MEASURED_CLIPS = 10


@dataclass(frozen=True)
class RuntimeEstimate:
    """An estimate of the longest time that each part of a full run takes, in seconds.

    Attributes:
        estimation: Pose estimation of the videos that have no poses yet.
        extraction: Extraction of the features that are not extracted yet.
        training: All training steps; early stopping would shorten them.
        evaluations: Evaluations during training.
        decoding: Final decoding of validation with the recipe's beam size.
    """

    estimation: float = 0.0
    extraction: float = 0.0
    training: float = 0.0
    evaluations: float = 0.0
    decoding: float = 0.0

    def format_summary(self) -> str:
        """Format the total time and those parts that take time as a sentence."""
        parts_text = ", ".join(
            f"{part} {format_duration(seconds)}" for part, seconds in vars(self).items() if seconds
        )
        total_text = format_duration(sum(vars(self).values()))
        return (
            f"a full run takes at most about {total_text} on the same CPUs ({parts_text or 'none'})"
        )


def format_sweep_estimate(space: SearchSpace, run_estimate: RuntimeEstimate) -> str:
    """Format the total time of all trials and final runs of a sweep as a sentence.

    Args:
        space: Search space of the sweep.
        run_estimate: Estimate of one run.
    """
    # A grid without a number of trials runs all combinations of its levels.
    searched_parameters = [p for p in space.parameters.values() if p.role not in ("noise", "fixed")]
    num_combinations = math.prod(len(p.levels or ()) for p in searched_parameters)
    num_trials = space.search.trials or num_combinations
    num_final_runs = (space.finalists.count + space.baseline) * max(1, len(space.final_seeds))
    run_seconds = run_estimate.training + run_estimate.evaluations
    # Poses and features are shared by all runs; only final runs decode the whole split.
    total_seconds = (
        run_estimate.estimation
        + run_estimate.extraction
        + (num_trials + num_final_runs) * run_seconds
        + num_final_runs * run_estimate.decoding
    )
    return (
        f"the full sweep takes at most about {format_duration(total_seconds)} of run time on the"
        f" same CPUs: {num_trials} trials and {num_final_runs} final runs of"
        f" {format_duration(run_seconds)} each, as many in parallel as fit; `kinesweep plan`"
        " accounts for pruning and other clusters"
    )


def estimate_extraction_seconds(recipe: Recipe) -> float:
    """Estimate the seconds to extract a recipe's missing features on the connected Ray cluster.

    Up to ten clips are read and converted in this process to measure the time per clip. The result
    is 0 if no features are missing.

    Raises:
        SourceError: If the corpus as a whole is invalid.
    """
    if part_recipes := list_part_recipes(recipe):
        return sum(estimate_extraction_seconds(part_recipe) for part_recipe in part_recipes)
    summary = summarize_extraction_plan(recipe)
    if summary.exists or not summary.num_to_compute:
        return 0.0
    source, features = build_source(recipe.effective_source), build_features(recipe.single_features)
    all_clips = (clip for split in source.list_splits() for clip in source.list_clips(split))
    # Measured one clip after the other; Ray Data distributes the clips over all cores.
    start_time, num_read = time.perf_counter(), 0
    for clip in islice(all_clips, _NUM_MEASURED_CLIPS):
        with suppress(ClipError):
            features.compute_features(source.read(clip))
            num_read += 1
    seconds_per_clip = (time.perf_counter() - start_time) / max(1, num_read)
    return seconds_per_clip * summary.num_to_compute / ray_cluster.get_num_cluster_cores()


def estimate_run_duration(recipe: Recipe, dry_store: Store, timing: StepTiming) -> RuntimeEstimate:
    """Estimate the time of each part of a full run from the times measured in a dry run.

    Training is assumed not to stop early. The clips of the full corpus are listed. The times of
    missing poses and features are those on the connected Ray cluster, for which up to ten clips are
    read and converted. Logs evaluations and decoding if their time cannot be estimated.

    Args:
        recipe: Recipe of the full run.
        dry_store: Store of the dry run.
        timing: Times measured in the dry run.

    Raises:
        InputError: If the pose estimator does not exist, if `source.videos` has no video of a clip,
            or if the corpus has no split `train` or `validation`.
        SourceError: If the corpus as a whole is invalid.
    """
    batch_config = recipe.effective_batch
    source = build_source(recipe.effective_source)
    num_train_clips, num_validation_clips = (
        len(source.list_clips(split)) for split in ("train", "validation")
    )
    batch_size = batch_config.batch_size or _estimate_batch_size(batch_config, dry_store)
    # The length limits could exclude clips, so this is an upper limit, as all of the estimate.
    num_batches = math.ceil(num_train_clips / batch_size)
    steps_per_epoch = count_steps_per_epoch(
        recipe.batch,
        recipe.training.gradient_accumulation_steps,
        num_batches,
        recipe.resources.workers,
    )
    training = resolve_steps(recipe.training, steps_per_epoch)
    samples_per_step = (
        min(batch_size, num_train_clips)
        * training.gradient_accumulation_steps
        * recipe.resources.workers
    )
    # Decoding during training may be limited to a few clips; the final decoding is not.
    max_clips = recipe.evaluation.during_training.max_clips
    num_scored = min(max_clips or num_validation_clips, num_validation_clips)
    num_measured = len(dry_store.get_records("validation"))
    num_evaluations = math.ceil(training.max_steps / training.eval_steps)
    evaluation_s = scale_duration("evaluations", timing.evaluation_s, num_measured, num_scored)
    return RuntimeEstimate(
        estimation=estimate_remaining_pose_seconds(recipe),
        extraction=estimate_extraction_seconds(recipe),
        training=training.max_steps * timing.step_s * samples_per_step / timing.samples,
        evaluations=num_evaluations * evaluation_s,
        decoding=scale_duration("decoding", timing.end_s, num_measured, num_validation_clips),
    )


def scale_duration(part: str, seconds: float, num_measured: int, num_clips: int) -> float:
    """Scale the seconds measured on some clips to all clips; return 0 if none was measured.

    Args:
        part: Part of the run, named in the log if it cannot be estimated.
        seconds: Measured time.
        num_measured: Number of clips on which it was measured.
        num_clips: Number of all clips.
    """
    if num_measured:
        return seconds * num_clips / num_measured
    if num_clips:
        logger.info(f"the time of {part} cannot be estimated: the dry run processed no clip")
    return 0.0


def _estimate_batch_size(config: EffectiveBatchConfig, store: Store) -> int:
    """Estimate the clips per batch from `max_frames` and the mean length of training clips.

    Padding is ignored. Frames of reference motions are not counted, as in a run.

    Args:
        config: Section `batch` of the full recipe as a run uses it.
        store: Store of the dry run.
    """
    max_frames = config.max_frames or DEFAULT_MAX_FRAMES
    records, _ = filter_clips_by_length(store.get_records("train"), config, "train")
    lengths = [count_clip_frames(record, config) for record in records]
    return max(1, round(max_frames * len(lengths) / sum(lengths)))
