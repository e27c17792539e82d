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
from kinesweep.config.loading import load
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.paths import state_home
from kinesweep.core.run_logger import RunLogger
from kinesweep.core.units import format_seconds
from kinesweep.data.bucketing import DEFAULT_MAX_FRAMES
from kinesweep.data.length_limits import filter_by_length, num_frames
from kinesweep.evaluation.evaluate import EvalSet, evaluate_batches
from kinesweep.evaluation.predictions import write_predictions
from kinesweep.features import build_features
from kinesweep.pipelines.cluster import ray_cluster
from kinesweep.pipelines.extraction import extract_features, find_training_store
from kinesweep.pipelines.inputs import model_folder
from kinesweep.pipelines.pose_estimation import remaining_estimation_seconds
from kinesweep.pipelines.sweep import SweepRequest, SweepResult, execute_sweep
from kinesweep.sources import build_source
from kinesweep.store import Store
from kinesweep.store.extraction.plan import describe_plan
from kinesweep.sweeps.planning.pilot_runs import OpenClock, StepTiming, read_pace
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.training.distributed.ray_train import train_on_ray
from kinesweep.training.loop.run import train_run
from kinesweep.training.run_records.result import RunResult, RunSpec

logger = logging.getLogger(__name__)

CLIPS = 10
_TRIALS = 2
# A dry sweep does not search these parameters: they would make it long or require a GPU.
_LENGTHS = frozenset({"training.max_steps", "training.eval_steps", "training.precision"})
# Overrides that make a dry run short and possible without a GPU.
_SMALL = (
    f"source.max_clips={CLIPS}",
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


def small_overrides(folder: Path) -> list[str]:
    """Return the recipe overrides for a dry run in a folder."""
    return [*_SMALL, f"store.root={folder / 'stores'}"]


def dry_folder(name: str) -> Path:
    """Create an empty folder for a dry run, replacing that of an earlier one."""
    folder = state_home() / "dry-runs" / name
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

    def line(self) -> str:
        """Return the total and its parts as a sentence."""
        parts = ((name, value) for name, value in vars(self).items() if value)
        shown = ", ".join(f"{name} {format_seconds(value)}" for name, value in parts)
        whole = format_seconds(sum(vars(self).values()))
        return f"a full run takes at most about {whole} on the same CPUs ({shown or 'none'})"


def dry_extract(path: Path, overrides: Sequence[str]) -> RuntimeEstimate:
    """Extract a few clips of a recipe's corpus and estimate the time for the rest."""
    real = load(Recipe, path, overrides).resolved(Path.cwd())
    _extract_small(path, overrides, dry_folder(f"{real.name}-extract"))
    return RuntimeEstimate(remaining_estimation_seconds(real), _extraction_s(real))


def dry_train(
    path: Path, overrides: Sequence[str], on_ray: bool
) -> tuple[RunResult, RuntimeEstimate]:
    """Train a recipe for a few steps on a few clips, with evaluations and the final decoding."""
    real = load(Recipe, path, overrides).resolved(Path.cwd())
    folder = dry_folder(f"{real.name}-train")
    small, store = _extract_small(path, overrides, folder)
    run = folder / "run"
    clock = folder / "clock"
    spec = RunSpec(small, store.folder, run)
    open_log = partial(OpenClock(clock), run, "", "", {})
    train = train_on_ray if on_ray else _train_here
    result = train(spec, open_log)
    return result, _expected(real, store, read_pace(clock / f"{run.name}.jsonl"))


def dry_sweep(order: SweepRequest) -> tuple[SweepResult, str]:
    """Run every stage of a sweep with two trials on a few clips.

    Returns:
        The result of the dry sweep, and a sentence with the estimated time of the full sweep.
    """
    space, real = load_space(order.path, order.overrides, order.base)
    folder = dry_folder(order.name)
    overrides = (*order.overrides, *(f"recipe.{item}" for item in small_overrides(folder)))
    # Loaded a second time with the overrides of a dry run; `resources` is part of the space.
    _, small = load_space(order.path, (*overrides, "resources.gpus=0"), order.base)
    short = space.model_copy(
        update={
            "search": space.search.model_copy(update={"trials": _TRIALS}),
            "finalists": space.finalists.model_copy(update={"count": 1}),
            "resources": small.resources,
            "parameters": {k: p for k, p in space.parameters.items() if k not in _LENGTHS},
        }
    )
    clock = folder / "clock"
    done = execute_sweep(
        folder / "sweep", short, small, folder / "bundle", open_log=OpenClock(clock)
    )
    paces = sorted((read_pace(file) for file in clock.glob("*.jsonl")), key=lambda p: p.step_s)
    # Extrapolate from the run with the median time per step.
    run = _expected(real, extract_features(small), paces[len(paces) // 2])
    return done, _sweep_line(space, run)


def _sweep_line(space: SearchSpace, run: RuntimeEstimate) -> str:
    """Return a sentence with the time of all runs; `kinesweep plan` also accounts for pruning."""
    # A grid without a number of trials runs all combinations of its levels.
    choices = [p for p in space.parameters.values() if p.role not in ("noise", "fixed")]
    trials = space.search.trials or math.prod(len(p.levels or ()) for p in choices)
    finals = (space.finalists.count + space.baseline) * max(1, len(space.final_seeds))
    seconds = run.training + run.evaluations
    whole = (trials + finals) * seconds + finals * run.decoding
    whole += run.estimation + run.extraction
    return (
        f"the full sweep takes at most about {format_seconds(whole)} of run time on the same CPUs:"
        f" {trials} trials and {finals} final runs of {format_seconds(seconds)} each, as many in"
        " parallel as fit; `kinesweep plan` accounts for pruning and other clusters"
    )


def dry_evaluate(place: Path, split: str, overrides: Sequence[str]) -> RuntimeEstimate:
    """Score a model on a few clips and estimate the time for a whole split.

    The texts are written, but the scores are neither shown nor noted in the test ledger.
    """
    model, store = model_folder(place), find_training_store(place, overrides)
    recipe = load(Recipe, model / "recipe.yaml", overrides)
    folder = dry_folder(f"{recipe.name}-evaluate")
    loaded = read_model_folder(model)
    data = EvalSet(
        store,
        split,
        loaded.text,
        recipe.evaluation,
        recipe.effective_batch,
        CLIPS,
        recipe.prompt_settings,
    )
    began = time.perf_counter()
    found = evaluate_batches(loaded.model, data, recipe.generation)
    seconds = time.perf_counter() - began
    write_predictions(folder / "predictions.tsv", found.predictions)
    # The same filter as in a real evaluation, which leaves out clips that are too long.
    every = len(filter_by_length(store.records(split), recipe.effective_batch, split)[0])
    return RuntimeEstimate(decoding=seconds * every / len(found.predictions))


def _train_here(spec: RunSpec, open_log: Callable[[], RunLogger]) -> RunResult:
    """Train a run in this process, without a stop condition."""
    return train_run(spec, open_log(), lambda _: True)


def _extract_small(path: Path, overrides: Sequence[str], folder: Path) -> tuple[Recipe, Store]:
    """Return the shortened recipe of a dry run and its extracted features."""
    own = load(Recipe, path, [*overrides, *small_overrides(folder)])
    small = own.model_copy(update={"name": f"dry-run-{own.name}"}).resolved(Path.cwd())
    return small, extract_features(small)


def _extraction_s(real: Recipe) -> float:
    """Estimate the seconds to extract the missing clips, from up to ten clips read here."""
    summary = describe_plan(real)
    if summary.exists or not summary.compute:
        return 0.0
    source, step = build_source(real.corpus), build_features(real.features)
    # Measured one clip after the other; Ray Data distributes the clips over all cores.
    began, read = time.perf_counter(), 0
    for clip in islice((clip for split in source.splits() for clip in source.clips(split)), CLIPS):
        with suppress(ClipError):
            step.compute(source.read(clip))
            read += 1
    one = (time.perf_counter() - began) / max(1, read)
    return one * summary.compute / ray_cluster.cores()


def _expected(real: Recipe, small: Store, pace: StepTiming) -> RuntimeEstimate:
    """Extrapolate a full run from a dry run's measured times; early stopping is ignored.

    Args:
        real: Recipe of the full run.
        small: Store of the dry run.
        pace: Times measured in the dry run.
    """
    training, search, source = (
        real.training,
        real.evaluation.during_training,
        build_source(real.corpus),
    )
    clips, validation = (len(source.clips(split)) for split in ("train", "validation"))
    batch = real.batch.batch_size or _clips_in(real.batch, small)
    samples = min(batch, clips) * training.gradient_accumulation_steps * real.resources.workers
    # Decoding during training may be limited to a few clips; the final decoding is not.
    scored = min(search.max_clips or validation, validation)
    few = len(small.records("validation"))
    evaluations = math.ceil(training.max_steps / training.eval_steps)
    return RuntimeEstimate(
        estimation=remaining_estimation_seconds(real),
        extraction=_extraction_s(real),
        training=training.max_steps * pace.step_s * samples / pace.samples,
        evaluations=evaluations * pace.evaluation_s * scored / few,
        decoding=pace.end_s * validation / few,
    )


def _clips_in(config: BatchConfig, small: Store) -> int:
    """Return the clips per batch of at most `max_frames` frames, for the dry run's mean length."""
    frames = config.max_frames or DEFAULT_MAX_FRAMES
    lengths = [num_frames(record, config) for record in small.records("train")]
    return max(1, round(frames * len(lengths) / sum(lengths)))
