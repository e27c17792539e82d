"""Dry runs: every stage on a few clips and steps, and how long the real thing will take.

A dry run has features, a run folder and a name of its own below `dry-runs`, begins anew each time,
computes on the CPU and is recorded nowhere. The real thing never looks there.
"""

import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from kinesweep.batches.limits import num_frames, within
from kinesweep.batches.plan import DEFAULT_MAX_FRAMES
from kinesweep.cli import cluster
from kinesweep.cli.estimates import left_to_estimate_s
from kinesweep.cli.output import say
from kinesweep.cli.sweeping import Order, SweepDone, run_in
from kinesweep.cli.workflows import extract_features, model_folder, store_of
from kinesweep.core.config import load
from kinesweep.core.errors import ClipError
from kinesweep.core.paths import state_home
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.data import BatchConfig
from kinesweep.core.runlog import RunLog
from kinesweep.core.units import format_seconds
from kinesweep.features import build_features
from kinesweep.sources import build_source
from kinesweep.store import Store
from kinesweep.store.plan import describe_plan
from kinesweep.sweeps.loading import load_space
from kinesweep.sweeps.probe import OpenClock, Pace, read_pace
from kinesweep.sweeps.space import SearchSpace
from kinesweep.training.distributed import train_on_ray
from kinesweep.training.evaluate import EvalSet, evaluate_batches
from kinesweep.training.model_folder import read_model_folder
from kinesweep.training.predictions import write_predictions
from kinesweep.training.result import RunResult, RunSpec
from kinesweep.training.run import train_run

CLIPS = 10
_TRIALS = 2
_LENGTHS = frozenset({"training.max_steps", "training.eval_steps", "training.precision"})
"""Parameters that a dry sweep does not search: they would make it long, or need a GPU."""
_SMALL = (
    f"source.max_clips={CLIPS}",
    "store.max_dropped_share=0.5",
    "training.max_steps=10",
    "training.eval_steps=5",
    "training.logging_steps=1",
    "training.warmup_steps=0",
    "training.precision=fp32",
    "resources.gpus=0",
    "tracking=none",
)
"""What makes a dry run short, and possible without a GPU."""


def small_overrides(folder: Path) -> list[str]:
    """Overrides of a recipe for a dry run in a folder."""
    return [*_SMALL, f"store.root={folder / 'stores'}"]


def dry_folder(name: str) -> Path:
    """A new, empty place for a dry run."""
    folder = state_home() / "dry-runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"dry run in {folder}: its scores mean nothing")
    return folder


@dataclass(frozen=True)
class Expected:
    """Seconds that the real thing takes at most, on processors like these.

    Attributes:
        estimation: of the videos that have no poses yet.
        extraction: of the features that are not extracted yet.
        training: all steps.
        evaluations: those during training.
        decoding: validation with the recipe's beams, at the end.
    """

    estimation: float = 0.0
    extraction: float = 0.0
    training: float = 0.0
    evaluations: float = 0.0
    decoding: float = 0.0

    def line(self) -> str:
        """For people."""
        parts = ((name, value) for name, value in vars(self).items() if value)
        shown = ", ".join(f"{name} {format_seconds(value)}" for name, value in parts)
        whole = format_seconds(sum(vars(self).values()))
        return f"the real thing takes about {whole} at most, on CPUs like these ({shown or 'none'})"


def dry_extract(path: Path, overrides: Sequence[str]) -> Expected:
    """Extracts a few clips of a recipe's corpus."""
    real = load(Recipe, path, overrides).resolved(Path.cwd())
    _extract_small(path, overrides, dry_folder(f"{real.name}-extract"))
    return Expected(left_to_estimate_s(real), _extraction_s(real))


def dry_train(path: Path, overrides: Sequence[str], on_ray: bool) -> tuple[RunResult, Expected]:
    """Trains a few steps of a recipe on a few clips, with evaluations and the final decoding."""
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


def dry_sweep(order: Order) -> tuple[SweepDone, str]:
    """Every stage of a sweep on a few trials of few clips; and what the real one takes."""
    space, real = load_space(order.path, order.overrides, order.base)
    folder = dry_folder(order.name)
    overrides = (*order.overrides, *(f"recipe.{item}" for item in small_overrides(folder)))
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
    done = run_in(folder / "sweep", short, small, folder / "bundle", open_log=OpenClock(clock))
    paces = sorted((read_pace(file) for file in clock.glob("*.jsonl")), key=lambda p: p.step_s)
    run = _expected(real, extract_features(small), paces[len(paces) // 2])
    return done, _sweep_line(space, run)


def _sweep_line(space: SearchSpace, run: Expected) -> str:
    """What so many runs take; pruning is `kinesweep plan`'s business."""
    choices = [p for p in space.parameters.values() if p.role not in ("noise", "fixed")]
    trials = space.search.trials or math.prod(len(p.levels or ()) for p in choices)
    finals = (space.finalists.count + space.baseline) * max(1, len(space.final_seeds))
    seconds = run.training + run.evaluations
    whole = (trials + finals) * seconds + finals * run.decoding
    whole += run.estimation + run.extraction
    return (
        f"the real thing takes about {format_seconds(whole)} of runs at most, on CPUs like these:"
        f" {trials} trials and {finals} final runs of {format_seconds(seconds)}, as many at a time"
        " as fit; `kinesweep plan` counts pruning and other clusters"
    )


def dry_evaluate(place: Path, split: str, overrides: Sequence[str]) -> Expected:
    """Scores a model on a few clips; the texts are written, the scores are shown to nobody."""
    model, store = model_folder(place), store_of(place, overrides)
    recipe = load(Recipe, model / "recipe.yaml", overrides)
    folder = dry_folder(f"{recipe.name}-evaluate")
    loaded = read_model_folder(model)
    data = EvalSet(
        store, split, loaded.text, recipe.evaluation, recipe.taken_batch, CLIPS, recipe.asking
    )
    began = time.perf_counter()
    found = evaluate_batches(loaded.model, data, recipe.generation)
    seconds = time.perf_counter() - began
    write_predictions(folder / "predictions.tsv", found.predictions)
    every = len(within(store.records(split), recipe.taken_batch, split)[0])
    return Expected(decoding=seconds * every / len(found.predictions))


def _train_here(spec: RunSpec, open_log: Callable[[], RunLog]) -> RunResult:
    return train_run(spec, open_log(), lambda _: True)


def _extract_small(path: Path, overrides: Sequence[str], folder: Path) -> tuple[Recipe, Store]:
    own = load(Recipe, path, [*overrides, *small_overrides(folder)])
    small = own.model_copy(update={"name": f"dry-run-{own.name}"}).resolved(Path.cwd())
    return small, extract_features(small)


def _extraction_s(real: Recipe) -> float:
    """Seconds to extract what is not extracted yet, from a few clips read here."""
    summary = describe_plan(real)
    if summary.exists or not summary.compute:
        return 0.0
    source, step = build_source(real.corpus), build_features(real.features)
    began, read = time.perf_counter(), 0
    for clip in islice((clip for split in source.splits() for clip in source.clips(split)), CLIPS):
        with suppress(ClipError):
            step.compute(source.read(clip))
            read += 1
    one = (time.perf_counter() - began) / max(1, read)
    return one * summary.compute / cluster.cores()


def _expected(real: Recipe, small: Store, pace: Pace) -> Expected:
    """What a run of a few clips says of the run with all of them; early stopping left aside."""
    training, search, source = real.training, real.evaluation.search, build_source(real.corpus)
    clips, validation = (len(source.clips(split)) for split in ("train", "validation"))
    batch = real.batch.clips or _clips_in(real.batch, small)
    samples = min(batch, clips) * training.gradient_accumulation_steps * real.resources.workers
    scored = min(search.max_clips or validation, validation)
    few = len(small.records("validation"))
    evaluations = math.ceil(training.max_steps / training.eval_steps)
    return Expected(
        estimation=left_to_estimate_s(real),
        extraction=_extraction_s(real),
        training=training.max_steps * pace.step_s * samples / pace.samples,
        evaluations=evaluations * pace.evaluation_s * scored / few,
        decoding=pace.end_s * validation / few,
    )


def _clips_in(config: BatchConfig, small: Store) -> int:
    """Clips in a batch of so many frames, if all are as long as those of a dry run."""
    frames = config.max_frames or DEFAULT_MAX_FRAMES
    lengths = [num_frames(record, config) for record in small.records("train")]
    return max(1, round(frames * len(lengths) / sum(lengths)))
