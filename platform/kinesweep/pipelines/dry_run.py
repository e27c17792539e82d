"""Dry runs: execute every stage on a few clips and steps, and estimate the time of the full run.

A dry run has its own features, run folder and name below `dry-runs`, starts from scratch each time,
computes on the CPU and is not recorded in MLflow. A full run never reads from there.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.paths import get_state_dir
from kinesweep.core.run_logger import RunLogger
from kinesweep.core.units import format_duration
from kinesweep.data.bucketing import DEFAULT_MAX_FRAMES
from kinesweep.data.length_limits import count_clip_frames, filter_clips_by_length
from kinesweep.evaluation.evaluate import EvalSet, evaluate_batches
from kinesweep.evaluation.predictions import write_predictions
from kinesweep.features import build_features
from kinesweep.pipelines.cluster import ray_cluster
from kinesweep.pipelines.extraction import extract_features, find_training_store
from kinesweep.pipelines.inputs import resolve_model_dir
from kinesweep.pipelines.pose_estimation import estimate_remaining_pose_seconds
from kinesweep.pipelines.sweeps.sweep import SweepRequest, SweepResult, run_sweep_pipeline
from kinesweep.sources import build_source
from kinesweep.store import Store
from kinesweep.store.extraction.plan import summarize_extraction_plan
from kinesweep.sweeps.planning.pilot_runs import StepTimerFactory, StepTiming, read_step_timing
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.training.distributed.ray_train import train_on_ray
from kinesweep.training.loop.run import train_run
from kinesweep.training.run_records.result import RunResult, RunSpec

logger = logging.getLogger(__name__)

NUM_CLIPS = 10
_NUM_TRIALS = 2
# A dry sweep does not search these parameters: they would make it long or require a GPU.
_FIXED_PARAMETERS = frozenset({"training.max_steps", "training.eval_steps", "training.precision"})
# Overrides that make a dry run short and possible without a GPU.
_DRY_RUN_OVERRIDES = (
    f"source.max_clips={NUM_CLIPS}",
    # The default is 1 %: with so few clips a single invalid one would be fatal.
    "store.max_dropped_share=0.5",
    "training.max_steps=10",
    "training.eval_steps=5",
    "training.logging_steps=1",
    "training.warmup_steps=0",
    "training.precision=fp32",
    "resources.gpus=0",
    "tracking=none",
)


def build_dry_run_overrides(folder: Path) -> list[str]:
    """Build the recipe overrides of a dry run whose feature stores are in a folder."""
    return [*_DRY_RUN_OVERRIDES, f"store.root={folder / 'stores'}"]


def create_dry_run_dir(name: str) -> Path:
    """Create an empty folder for a dry run, replacing that of an earlier one."""
    folder = get_state_dir() / "dry-runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    logger.info(f"dry run in {folder}: its scores are meaningless")
    return folder


@dataclass(frozen=True)
class RuntimeEstimate:
    """An estimate of the longest time that a full run takes on the same CPUs, in seconds.

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
        """Format the total time and its parts as a sentence."""
        parts = ((name, value) for name, value in vars(self).items() if value)
        parts_text = ", ".join(f"{name} {format_duration(value)}" for name, value in parts)
        total_text = format_duration(sum(vars(self).values()))
        return (
            f"a full run takes at most about {total_text} on the same CPUs ({parts_text or 'none'})"
        )


def dry_run_extraction(path: Path, overrides: Sequence[str]) -> RuntimeEstimate:
    """Extract a few clips of a recipe's corpus and estimate the time for the remaining ones."""
    full_recipe = load_config(Recipe, path, overrides).resolve_paths(Path.cwd())
    _extract_dry_run_clips(path, overrides, create_dry_run_dir(f"{full_recipe.name}-extract"))
    return RuntimeEstimate(
        estimate_remaining_pose_seconds(full_recipe), _estimate_extraction_s(full_recipe)
    )


def dry_run_training(
    path: Path, overrides: Sequence[str], on_ray: bool
) -> tuple[RunResult, RuntimeEstimate]:
    """Train a recipe for a few steps on a few clips, with evaluations and the final decoding."""
    full_recipe = load_config(Recipe, path, overrides).resolve_paths(Path.cwd())
    folder = create_dry_run_dir(f"{full_recipe.name}-train")
    dry_recipe, store = _extract_dry_run_clips(path, overrides, folder)
    run_dir = folder / "run"
    clock_dir = folder / "clock"
    spec = RunSpec(dry_recipe, store.folder, run_dir)
    open_log = partial(StepTimerFactory(clock_dir), run_dir, "", "", {})
    train = train_on_ray if on_ray else _train_in_process
    result = train(spec, open_log)
    return result, _extrapolate_runtime(
        full_recipe, store, read_step_timing(clock_dir / f"{run_dir.name}.jsonl")
    )


def dry_run_sweep(request: SweepRequest) -> tuple[SweepResult, str]:
    """Run every stage of a sweep with two trials on a few clips.

    Returns:
        The result of the dry sweep, and a sentence with the estimated time of the full sweep.
    """
    space, full_recipe = load_space(request.path, request.overrides, request.base)
    folder = create_dry_run_dir(request.name)
    overrides = (
        *request.overrides,
        *(f"recipe.{item}" for item in build_dry_run_overrides(folder)),
    )
    # Loaded a second time with the overrides of a dry run; `resources` is part of the space.
    _, dry_recipe = load_space(request.path, (*overrides, "resources.gpus=0"), request.base)
    dry_space = space.model_copy(
        update={
            "search": space.search.model_copy(update={"trials": _NUM_TRIALS}),
            "finalists": space.finalists.model_copy(update={"count": 1}),
            "resources": dry_recipe.resources,
            "parameters": {k: p for k, p in space.parameters.items() if k not in _FIXED_PARAMETERS},
        }
    )
    clock_dir = folder / "clock"
    result = run_sweep_pipeline(
        folder / "sweep",
        dry_space,
        dry_recipe,
        folder / "bundle",
        open_log=StepTimerFactory(clock_dir),
    )
    timings = sorted(
        (read_step_timing(file) for file in clock_dir.glob("*.jsonl")), key=lambda p: p.step_s
    )
    # Extrapolate from the run with the median time per step.
    run_estimate = _extrapolate_runtime(
        full_recipe, extract_features(dry_recipe), timings[len(timings) // 2]
    )
    return result, _format_sweep_estimate(space, run_estimate)


def _format_sweep_estimate(space: SearchSpace, run_estimate: RuntimeEstimate) -> str:
    """Format the time of all runs as a sentence; `kinesweep plan` also accounts for pruning."""
    # A grid without a number of trials runs all combinations of its levels.
    choices = [p for p in space.parameters.values() if p.role not in ("noise", "fixed")]
    num_trials = space.search.trials or math.prod(len(p.levels or ()) for p in choices)
    num_final_runs = (space.finalists.count + space.baseline) * max(1, len(space.final_seeds))
    run_seconds = run_estimate.training + run_estimate.evaluations
    total_seconds = (
        num_trials + num_final_runs
    ) * run_seconds + num_final_runs * run_estimate.decoding
    total_seconds += run_estimate.estimation + run_estimate.extraction
    return (
        f"the full sweep takes at most about {format_duration(total_seconds)} of run time on the"
        " same CPUs:"
        f" {num_trials} trials and {num_final_runs} final runs of {format_duration(run_seconds)}"
        " each, as many in"
        " parallel as fit; `kinesweep plan` accounts for pruning and other clusters"
    )


def dry_run_evaluation(model_dir: Path, split: str, overrides: Sequence[str]) -> RuntimeEstimate:
    """Score a model on a few clips and estimate the time for a whole split.

    The texts are written, but the scores are neither shown nor noted in the test ledger.
    """
    weights_dir, store = resolve_model_dir(model_dir), find_training_store(model_dir, overrides)
    recipe = load_config(Recipe, weights_dir / "recipe.yaml", overrides)
    folder = create_dry_run_dir(f"{recipe.name}-evaluate")
    loaded_model = read_model_folder(weights_dir)
    eval_set = EvalSet(
        store,
        split,
        loaded_model.text,
        recipe.evaluation,
        recipe.effective_batch,
        NUM_CLIPS,
        recipe.prompt_settings,
    )
    start_time = time.perf_counter()
    evaluation = evaluate_batches(loaded_model.model, eval_set, recipe.generation)
    seconds = time.perf_counter() - start_time
    write_predictions(folder / "predictions.tsv", evaluation.predictions)
    # The same filter as in a real evaluation, which leaves out clips that are too long.
    num_clips = len(
        filter_clips_by_length(store.get_records(split), recipe.effective_batch, split)[0]
    )
    return RuntimeEstimate(decoding=seconds * num_clips / len(evaluation.predictions))


def _train_in_process(spec: RunSpec, open_log: Callable[[], RunLogger]) -> RunResult:
    """Train a run in this process without reporting or stopping early."""
    return train_run(spec, open_log(), lambda _: True)


def _extract_dry_run_clips(
    path: Path, overrides: Sequence[str], folder: Path
) -> tuple[Recipe, Store]:
    """Extract the clips of a dry run; return its shortened recipe and its feature store."""
    full_recipe = load_config(Recipe, path, [*overrides, *build_dry_run_overrides(folder)])
    dry_recipe = full_recipe.model_copy(
        update={"name": f"dry-run-{full_recipe.name}"}
    ).resolve_paths(Path.cwd())
    return dry_recipe, extract_features(dry_recipe)


def _estimate_extraction_s(recipe: Recipe) -> float:
    """Estimate the seconds to extract the missing clips, from up to ten clips read here."""
    summary = summarize_extraction_plan(recipe)
    if summary.exists or not summary.num_to_compute:
        return 0.0
    source, step = build_source(recipe.effective_source), build_features(recipe.features)
    # Measured one clip after the other; Ray Data distributes the clips over all cores.
    start_time, num_read = time.perf_counter(), 0
    for clip in islice(
        (clip for split in source.list_splits() for clip in source.list_clips(split)), NUM_CLIPS
    ):
        with suppress(ClipError):
            step.compute_features(source.read(clip))
            num_read += 1
    seconds_per_clip = (time.perf_counter() - start_time) / max(1, num_read)
    return seconds_per_clip * summary.num_to_compute / ray_cluster.get_num_cluster_cores()


def _extrapolate_runtime(recipe: Recipe, dry_store: Store, timing: StepTiming) -> RuntimeEstimate:
    """Extrapolate a full run from a dry run's measured times; early stopping is ignored.

    Args:
        recipe: Recipe of the full run.
        dry_store: Store of the dry run.
        timing: Times measured in the dry run.
    """
    training, eval_config, source = (
        recipe.training,
        recipe.evaluation.during_training,
        build_source(recipe.effective_source),
    )
    num_train_clips, num_validation_clips = (
        len(source.list_clips(split)) for split in ("train", "validation")
    )
    batch_size = recipe.batch.batch_size or _estimate_batch_size(recipe.batch, dry_store)
    num_samples = (
        min(batch_size, num_train_clips)
        * training.gradient_accumulation_steps
        * recipe.resources.workers
    )
    # Decoding during training may be limited to a few clips; the final decoding is not.
    num_scored = min(eval_config.max_clips or num_validation_clips, num_validation_clips)
    num_dry_run_clips = len(dry_store.get_records("validation"))
    num_evaluations = math.ceil(training.max_steps / training.eval_steps)
    return RuntimeEstimate(
        estimation=estimate_remaining_pose_seconds(recipe),
        extraction=_estimate_extraction_s(recipe),
        training=training.max_steps * timing.step_s * num_samples / timing.samples,
        evaluations=num_evaluations * timing.evaluation_s * num_scored / num_dry_run_clips,
        decoding=timing.end_s * num_validation_clips / num_dry_run_clips,
    )


def _estimate_batch_size(config: BatchConfig, store: Store) -> int:
    """Estimate the clips per batch from `max_frames` and the mean length of the dry run's clips."""
    max_frames = config.max_frames or DEFAULT_MAX_FRAMES
    lengths = [count_clip_frames(record, config) for record in store.get_records("train")]
    return max(1, round(max_frames * len(lengths) / sum(lengths)))
