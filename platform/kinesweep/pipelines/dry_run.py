"""Dry runs: execute every stage on a few clips and steps and measure it.

A dry run has its own features, run folder and name below `dry-runs`, starts from scratch each time,
computes on the CPU and is not recorded in MLflow. A full run never reads from there.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import StatisticsError

from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.any_recipe import get_corpus_recipe, require_translation
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.paths import get_state_dir
from kinesweep.core.run_logger import RunLogger
from kinesweep.core.system.devices import AUTO_DEVICE
from kinesweep.data.length_limits import filter_clips_by_length
from kinesweep.evaluation.eval_set import EvalSet
from kinesweep.evaluation.evaluate import evaluate_batches
from kinesweep.evaluation.predictions import write_predictions
from kinesweep.pipelines.extraction import extract_features, find_training_store
from kinesweep.pipelines.inputs import resolve_model_dir
from kinesweep.pipelines.pose_estimation import estimate_remaining_pose_seconds
from kinesweep.pipelines.runtime_estimate import (
    RuntimeEstimate,
    estimate_extraction_seconds,
    estimate_run_duration,
    format_sweep_estimate,
    scale_duration,
)
from kinesweep.pipelines.sweeps.sweep import SweepRequest, SweepResult, run_sweep_pipeline
from kinesweep.store import Store
from kinesweep.sweeps.planning.step_timer import StepTimerFactory, StepTiming, read_step_timing
from kinesweep.sweeps.space.loading import load_space
from kinesweep.training.distributed.ray_train import train_on_ray
from kinesweep.training.loop.run import train_run
from kinesweep.training.reproducibility.inference_device import prepare_inference
from kinesweep.training.run_records.result import RunResult, RunSpec
from kinesweep.training.run_records.run_failure import train_or_raise

logger = logging.getLogger(__name__)

NUM_CLIPS = 10
_NUM_TRIALS = 2
# A dry sweep does not search these parameters: they would make it long or require a GPU.
_FIXED_PARAMETERS = frozenset(
    {
        *("training.max_steps", "training.num_train_epochs", "training.precision"),
        *("training.eval_steps", "training.eval_epochs", "performance.attention"),
    }
)
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
    "performance.attention=auto",
    "resources.gpus=0",
    "tracking=none",
)


def build_dry_run_overrides(folder: Path) -> list[str]:
    """Build the recipe overrides of a dry run.

    Args:
        folder: Folder of the dry run, in which its feature stores are written.
    """
    return [*_DRY_RUN_OVERRIDES, f"store.root={folder / 'stores'}"]


def create_dry_run_dir(name: str) -> Path:
    """Create an empty folder for a dry run, replace that of an earlier one, and log its path.

    Args:
        name: Name of the folder below `dry-runs` in the state folder.
    """
    folder = get_state_dir() / "dry-runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    logger.info(f"dry run in {folder}: its scores are meaningless")
    return folder


def dry_run_extraction(path: Path, overrides: Sequence[str]) -> RuntimeEstimate:
    """Extract a few clips of a recipe's corpus and estimate the time to extract the full corpus.

    Logs the folder of the dry run and what `extract_features` logs. The estimate includes the poses
    of videos that have none yet.

    Args:
        path: File of the recipe.
        overrides: Overrides of the recipe.

    Raises:
        ConfigError: If the recipe is invalid.
        InputError: If the pose estimator does not exist, or if `source.videos` has no video.
        SourceError: If the corpus as a whole is invalid.
        StoreError: If more than half of the clips are dropped.
    """
    full_recipe = load_config(Recipe, path, overrides).resolve_paths(Path.cwd())
    _extract_dry_run_clips(path, overrides, create_dry_run_dir(f"{full_recipe.name}-extract"))
    return RuntimeEstimate(
        estimation=estimate_remaining_pose_seconds(full_recipe),
        extraction=estimate_extraction_seconds(full_recipe),
    )


def dry_run_training(
    path: Path, overrides: Sequence[str], on_ray: bool
) -> tuple[RunResult, RuntimeEstimate]:
    """Train a recipe for a few steps on a few clips and estimate the time of the full run.

    Evaluations and the final decoding are part of the short run. Logs the folder of the dry run and
    what `extract_features` and `estimate_run_duration` log.

    Args:
        path: File of the recipe.
        overrides: Overrides of the recipe.
        on_ray: Whether training uses Ray; otherwise this process trains. Extraction uses Ray.

    Returns:
        The result of the short run, and the estimated time of the full run.

    Raises:
        CheckpointError: If `model.init_from` does not fit the model.
        ConfigError: If the recipe is invalid.
        InputError: If the recipe cannot be trained on the clips.
        ResourceError: If the cluster can never hold the workers, or if the disk is too small.
        SourceError: If the corpus as a whole is invalid.
        StoreError: If more than half of the clips are dropped.
        TrainingError: If the short run diverged, or if its workers were killed twice.
    """
    full_recipe = load_config(Recipe, path, overrides).resolve_paths(Path.cwd())
    folder = create_dry_run_dir(f"{full_recipe.name}-train")
    dry_recipe, store = _extract_dry_run_clips(path, overrides, folder)
    run_dir = folder / "run"
    clock_dir = folder / "clock"
    spec = RunSpec(dry_recipe, store.folder, run_dir)
    open_log = partial(StepTimerFactory(clock_dir), run_dir, "", "", {})
    train = train_on_ray if on_ray else _train_in_process
    result = train_or_raise(partial(train, spec, open_log), dry_recipe.training.learning_rate)
    timing = read_step_timing(clock_dir / f"{run_dir.name}.jsonl")
    return result, estimate_run_duration(full_recipe, store, timing)


def dry_run_sweep(request: SweepRequest) -> tuple[SweepResult, str]:
    """Run every stage of a sweep with two trials on a few clips and estimate the full sweep's time.

    Logs the folder of the dry run and what `run_sweep_pipeline` and `estimate_run_duration` log.

    Args:
        request: Sweep to run; its number of additional trials is ignored.

    Returns:
        The result of the dry sweep, and a sentence with the estimated time of the full sweep.

    Raises:
        ConfigError: If the search space or its recipe is invalid.
        KinesweepError: If `run_sweep_pipeline` or `estimate_run_duration` raises it.
    """
    space, recipe = load_space(request.path, request.overrides, request.base)
    full_recipe = require_translation(recipe, "kinesweep sweep --dry-run")
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
            # Its two trials stay in its folder.
            "study_storage": None,
            "parameters": {
                key: parameter
                for key, parameter in space.parameters.items()
                if key not in _FIXED_PARAMETERS
            },
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
    timings = sorted(_read_sweep_timings(clock_dir), key=lambda timing: timing.step_s)
    if not timings:
        return result, "the time of the full sweep cannot be estimated: no run was measured"
    # Extrapolate from the run with the median time per step.
    run_estimate = estimate_run_duration(
        full_recipe, extract_features(get_corpus_recipe(dry_recipe)), timings[len(timings) // 2]
    )
    return result, format_sweep_estimate(space, run_estimate)


def _read_sweep_timings(clock_dir: Path) -> Iterator[StepTiming]:
    """Read the timings of those runs of a dry sweep that were evaluated; others failed earlier.

    Args:
        clock_dir: Folder of the logs; it is missing if no run has started.
    """
    for path in sorted(clock_dir.glob("*.jsonl")):
        # A run that ended before its first evaluation has no times to extrapolate from.
        with suppress(IndexError, StatisticsError):
            yield read_step_timing(path)


def dry_run_evaluation(
    model_dir: Path, split: str, overrides: Sequence[str], device: str = AUTO_DEVICE
) -> RuntimeEstimate:
    """Decode a few clips of a split with a model and estimate the time for the whole split.

    The texts are written to the folder of the dry run, whose path is logged; the scores are neither
    shown nor noted in the test ledger.

    Args:
        model_dir: Folder of a run, a model or a bundle.
        split: Split of the model's corpus.
        overrides: Overrides of the model's recipe.
        device: Name of the device of the model: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        CheckpointError: If there is no model in the folder.
        ConfigError: If an override is invalid.
        InputError: If a file of a metric, or of the context's predictions, is missing.
        StoreError: If the features that the model was trained on are missing or have no such split.
    """
    weights_dir, store = resolve_model_dir(model_dir), find_training_store(model_dir, overrides)
    recipe = load_config(Recipe, weights_dir / "recipe.yaml", overrides)
    folder = create_dry_run_dir(f"{recipe.name}-evaluate")
    loaded_model = read_model_folder(weights_dir, prepare_inference(device))
    eval_set = EvalSet(
        store,
        split,
        loaded_model.tokenizer,
        recipe.evaluation,
        recipe.effective_batch,
        NUM_CLIPS,
        prompt_settings=recipe.prompt_settings,
    )
    start_time = time.perf_counter()
    evaluation = evaluate_batches(loaded_model.model, eval_set, recipe.generation)
    seconds = time.perf_counter() - start_time
    write_predictions(folder / "predictions.tsv", evaluation.predictions)
    # The same filter as in a real evaluation, which leaves out clips that are too long.
    num_clips = len(
        filter_clips_by_length(store.get_records(split), recipe.effective_batch, split)[0]
    )
    num_decoded = len(evaluation.predictions)
    return RuntimeEstimate(decoding=scale_duration("decoding", seconds, num_decoded, num_clips))


def _train_in_process(spec: RunSpec, open_log: Callable[[], RunLogger]) -> RunResult:
    """Train a run in this process without reporting its evaluations; it is never pruned."""
    return train_run(spec, open_log(), lambda _: True)


def _extract_dry_run_clips(
    path: Path, overrides: Sequence[str], folder: Path
) -> tuple[Recipe, Store]:
    """Extract the clips of a dry run; return its shortened recipe and its feature store.

    Args:
        path: File of the recipe.
        overrides: Overrides of the recipe.
        folder: Folder of the dry run.
    """
    short_recipe = load_config(Recipe, path, [*overrides, *build_dry_run_overrides(folder)])
    dry_recipe = short_recipe.model_copy(
        update={"name": f"dry-run-{short_recipe.name}"}
    ).resolve_paths(Path.cwd())
    return dry_recipe, extract_features(get_corpus_recipe(dry_recipe))
