"""Cost estimate of a sweep, from short pilot runs and a simulation of the sweep's own policies.

Durations are measured; only the losses are invented. Each run draws a final loss at random and
approaches it exponentially, which decides what is pruned. Runs are assumed to train for all of
their `max_steps`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ResourceError
from kinesweep.core.seeds import derive_seed, generator
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.planning.pilot_runs import Probe
from kinesweep.sweeps.planning.simulation import Clock, SimulatedRun, simulate
from kinesweep.sweeps.results.ranking import min_detectable_difference
from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest
from kinesweep.sweeps.search.budget import Budget
from kinesweep.sweeps.search.finals import Finals, final_runs, select_finalists
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from kinesweep.sweeps.space.loading import apply_overrides
from kinesweep.sweeps.space.space import MINIMISED, SearchSpace
from kinesweep.sweeps.workers.placement import slots as fitting

_REPEATS, _REPEATS_ELSEWHERE = 9, 3
"""Simulations for the given cluster and for each other number of devices."""
_ENOUGH_CPUS = 1e6
"""CPUs of a hypothetical cluster whose size is given in GPUs."""
_FRESH_PROCESS_S = 10.0
"""Duration of a bundle's verification in a new process; measured 8 to 12 s, mostly imports."""
_SIZES = tuple(2**power for power in range(10))
"""Numbers of devices in the table: 1 to 512."""


@dataclass(frozen=True)
class CostInputs:
    """The inputs of a cost estimate.

    Attributes:
        space: The search space.
        recipe: Recipe that the sweep tunes.
        probe: Measurements of the pilot runs.
        evaluation_samples: Number of clips between two evaluations.
        test_share: Ratio of test clips to validation clips.
        store_bytes: Size of the feature store in bytes.
    """

    space: SearchSpace
    recipe: Recipe
    probe: Probe
    evaluation_samples: float
    test_share: float
    store_bytes: int


@dataclass(frozen=True)
class CostRow:
    """The estimated cost of the sweep on a number of devices.

    Attributes:
        devices: Number of GPUs, or of CPUs if runs use no GPU.
        slots: Number of runs at a time.
        hours: Wall-clock hours, median over the simulations.
        low: 10th percentile of the hours.
        high: 90th percentile of the hours.
        device_hours: Hours of all runs multiplied by the devices that they occupy.
        finished: Mean number of trials that train to their end.
        pruned: Mean number of trials that are stopped early.
        disk_bytes: Upper bound of the disk space in bytes, features included.
    """

    devices: float
    slots: int
    hours: float
    low: float
    high: float
    device_hours: float
    finished: float
    pruned: float
    disk_bytes: int


@dataclass(frozen=True)
class Plan:
    """The estimated cost of a sweep.

    Attributes:
        here: Estimate for the given cluster.
        rows: Estimates for 1 to 512 devices.
        min_detectable_difference: Smallest difference that the finals detect with 80 % power.
    """

    here: CostRow
    rows: Sequence[CostRow]
    min_detectable_difference: float


def make_plan(
    facts: CostInputs, nodes: Sequence[Mapping[str, float]], seed_sd: float, sentence_sd: float
) -> Plan:
    """Estimate the cost of a sweep by simulation.

    Args:
        facts: Search space, recipe and measurements.
        nodes: Resources of each node, `{"CPU": …, "GPU": …}`.
        seed_sd: Standard deviation of a final score between seeds.
        sentence_sd: Standard error of a difference that is due to the choice of sentences.

    Raises:
        ResourceError: If a run does not fit in the cluster.
    """
    resources = facts.space.resources
    kind = "GPU" if resources.gpus else "CPU"
    here = _row(
        facts, fitting(resources, nodes), sum(node.get(kind, 0) for node in nodes), _REPEATS
    )
    rows = []
    for devices in _SIZES:
        try:
            count = fitting(resources, [{"CPU": _ENOUGH_CPUS, kind: devices}])
        except ResourceError:
            continue  # too few devices for a single run
        rows.append(_row(facts, count, devices, _REPEATS_ELSEWHERE))
    final = facts.space.finalists.count + facts.space.baseline
    # A ranking needs two seeds and two configurations; smaller spaces get the estimate for these.
    seeds = max(2, len(facts.space.final_seeds))
    return Plan(here, rows, min_detectable_difference(seed_sd, sentence_sd, seeds, max(2, final)))


@dataclass(frozen=True)
class _Once:
    """The outcome of one simulated sweep."""

    seconds: float
    run_seconds: float
    finished: int
    pruned: int
    final_runs: int


def _row(facts: CostInputs, slots: int, devices: float, repeats: int) -> CostRow:
    """Simulate a sweep several times, each time with another seed, and aggregate the results."""
    times = [_simulated(facts, slots, repeat) for repeat in range(repeats)]
    seconds = sorted(once.seconds for once in times)
    resources = facts.space.resources
    per_run = resources.workers * (resources.gpus or resources.cpus)
    runs = median(once.finished + once.final_runs for once in times)
    # A run in progress has up to three checkpoints besides its best model.
    kept = runs + 3 * min(slots, runs)
    return CostRow(
        devices=devices,
        slots=slots,
        hours=median(seconds) / 3600,
        low=seconds[len(seconds) // 10] / 3600,
        high=seconds[-1 - len(seconds) // 10] / 3600,
        device_hours=fmean(once.run_seconds for once in times) * per_run / 3600,
        finished=fmean(once.finished for once in times),
        pruned=fmean(once.pruned for once in times),
        # The last model is the winner's, copied into the bundle.
        disk_bytes=int(facts.store_bytes + facts.probe.model_bytes * (kept + 1)),
    )


def _simulated(facts: CostInputs, slots: int, repeat: int) -> _Once:
    """Simulate one sweep: search, finals, scoring of test and export of the bundle."""
    space, recipe, probed = _reseeded(facts.space, repeat), facts.recipe, facts.probe
    clock = Clock()
    journal = Journal(None, clock)
    journal.begin("plan", space.question)
    course = _courses(facts, space, repeat)
    probable = (space.finalists.count + space.baseline) * len(space.final_seeds)
    search_facts = SearchContext(
        recipe=recipe,
        # A constant stands for the fingerprint of the features.
        config_of=lambda changed: changed.config_hash("plan"),
        evaluation_samples=facts.evaluation_samples,
        budget=Budget(space.budget, space.resources, slots, probable),
        disk_bytes=lambda: 0,
        model_bytes=lambda: probed.model_bytes,
    )
    clock.now += probed.open_s
    searched = simulate(
        SearchPolicy(space, search_facts, journal), course, slots, clock, probed.between_s
    )
    chosen = select_finalists(space, recipe, journal.trials)
    # Names of run folders need only be equal for equal configurations and seeds.
    runs = final_runs(chosen, lambda values, seed: f"{sorted(values.items())} s{seed}")
    settled = simulate(Finals(runs, journal), course, slots, clock, probed.between_s)
    # The winner's seeds are decoded on test one after the other.
    tests = len(space.final_seeds) * probed.decode_s * facts.test_share
    states = [trial.state for trial in journal.trials if trial.duplicate_of is None]
    return _Once(
        seconds=clock.now + tests + _FRESH_PROCESS_S + probed.decode_s,
        run_seconds=searched.run_seconds + settled.run_seconds,
        finished=states.count("finished"),
        pruned=states.count("pruned"),
        final_runs=len(runs),
    )


def _reseeded(space: SearchSpace, repeat: int) -> SearchSpace:
    """Return the space with another search seed for each repetition but the first."""
    seed = space.search.seed if repeat == 0 else derive_seed(space.search.seed, repeat) % 2**31
    return space.model_copy(update={"search": space.search.model_copy(update={"seed": seed})})


def _courses(
    facts: CostInputs, space: SearchSpace, repeat: int
) -> Callable[[RunRequest], SimulatedRun]:
    """Return a function that predicts the course of a run: measured durations, invented losses."""
    names: set[str] = {metric.name for metric in space.objectives}
    names |= {space.pruner.metric, "token_loss"}

    def scores(loss: float) -> dict[str, float]:
        # Policies compare trials with each other, so the scale of a score is irrelevant.
        return {name: loss if name in MINIMISED else -loss for name in names}

    def course(request: RunRequest) -> SimulatedRun:
        # Seeded by configuration and seed, so a configuration has one course, whenever it starts.
        rng = generator(repeat, "course", repr(sorted(request.values.items())), request.seed)
        # The untuned recipe has the duration of its own pilot run; a trial gets one of the
        # measured durations at random, because other points of the space were not measured.
        paces = facts.probe.paces if request.values else facts.probe.paces[:1]
        pace = paces[int(rng.integers(len(paces)))]
        training = apply_overrides(facts.recipe, request.values).training
        # The loss decays from about 5 to a floor near 2, with noise around both.
        floor, told, seconds = 2 + rng.normal(0, 0.3), [], pace.start_s
        step = 0
        while step < training.max_steps:
            steps = min(training.eval_steps, training.max_steps - step)
            step += steps
            seconds += steps * pace.step_s + pace.evaluation_s
            share = step / training.max_steps
            loss = floor + 3 * math.exp(-5 * share) + rng.normal(0, 0.03)
            told.append((seconds, {"step": step, "samples": step * pace.samples, **scores(loss)}))
        end_s = pace.end_s + (facts.probe.decode_s if request.phase != "search" else 0.0)
        return SimulatedRun(told, RunEnd("finished", scores(floor), "", seconds + end_s))

    return course
