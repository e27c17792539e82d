"""What a sweep will take, from short measured runs and a simulation of the very agendas.

Only the courses of the losses are made up: qualities are drawn at random and losses fall to them,
which decides who is pruned. Runs are taken to last to their `max_steps`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from kinesweep.core.errors import ResourceError
from kinesweep.core.recipe import Recipe
from kinesweep.core.seeds import derive_seed, generator
from kinesweep.sweeps.agenda import End, Proposal
from kinesweep.sweeps.budget import Budget
from kinesweep.sweeps.finals import Finals, choose, final_runs
from kinesweep.sweeps.journal import Journal
from kinesweep.sweeps.loading import apply
from kinesweep.sweeps.packing import slots as fitting
from kinesweep.sweeps.probe import Probe
from kinesweep.sweeps.ranking import detectable
from kinesweep.sweeps.search import Search, SearchFacts
from kinesweep.sweeps.simulate import Clock, Course, simulate
from kinesweep.sweeps.space import MINIMISED, SearchSpace

_REPEATS, _REPEATS_ELSEWHERE = 9, 3
_ENOUGH_CPUS = 1e6
_FRESH_PROCESS_S = 10.0
"""Verifying a bundle starts a process that imports everything; measured 8 to 12 s."""
_SIZES = tuple(2**power for power in range(10))


@dataclass(frozen=True)
class Facts:
    """What is planned, and what is known of it.

    Attributes:
        space: the question.
        recipe: of whom it is asked.
        probe: how fast runs go.
        evaluation_samples: clips from one evaluation to the next.
        test_share: test clips for each validation clip.
        store_bytes: of the features.
    """

    space: SearchSpace
    recipe: Recipe
    probe: Probe
    evaluation_samples: float
    test_share: float
    store_bytes: int


@dataclass(frozen=True)
class Row:
    """The sweep on a number of devices.

    Attributes:
        devices: GPUs, or CPUs where runs take no GPU.
        slots: runs at a time.
        hours: by the clock, median of the simulations.
        low: 10 % of the simulations are shorter.
        high: 10 % are longer.
        device_hours: that runs occupy.
        finished: trials of the search that run to their end.
        pruned: those that are stopped early.
        disk_bytes: at the most, features included.
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
    """The expectation.

    Attributes:
        here: on the cluster that was named.
        rows: on 1 to 512 devices.
        detectable: smallest difference that the finals see in 80 % of cases.
    """

    here: Row
    rows: Sequence[Row]
    detectable: float


def make_plan(
    facts: Facts, nodes: Sequence[Mapping[str, float]], seed_sd: float, sentence_sd: float
) -> Plan:
    """Simulates.

    Args:
        facts: see there.
        nodes: `{"CPU": …, "GPU": …}` of each node.
        seed_sd: standard deviation of a final score between seeds.
        sentence_sd: standard error of a difference that comes from sentences.

    Raises:
        ResourceError: a run does not fit in the cluster.
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
            continue  # too few for a single run
        rows.append(_row(facts, count, devices, _REPEATS_ELSEWHERE))
    final = facts.space.finalists.count + facts.space.baseline
    seeds = max(2, len(facts.space.final_seeds))
    return Plan(here, rows, detectable(seed_sd, sentence_sd, seeds, max(2, final)))


@dataclass(frozen=True)
class _Once:
    """One simulated sweep."""

    seconds: float
    run_seconds: float
    finished: int
    pruned: int
    final_runs: int


def _row(facts: Facts, slots: int, devices: float, repeats: int) -> Row:
    """A number of simulations, each with a seed of its own."""
    times = [_simulated(facts, slots, repeat) for repeat in range(repeats)]
    seconds = sorted(once.seconds for once in times)
    resources = facts.space.resources
    per_run = resources.workers * (resources.gpus or resources.cpus)
    runs = median(once.finished + once.final_runs for once in times)
    # Of a run in flight there are up to three checkpoints.
    kept = runs + 3 * min(slots, runs)
    return Row(
        devices=devices,
        slots=slots,
        hours=median(seconds) / 3600,
        low=seconds[len(seconds) // 10] / 3600,
        high=seconds[-1 - len(seconds) // 10] / 3600,
        device_hours=fmean(once.run_seconds for once in times) * per_run / 3600,
        finished=fmean(once.finished for once in times),
        pruned=fmean(once.pruned for once in times),
        disk_bytes=int(facts.store_bytes + facts.probe.model_bytes * (kept + 1)),
    )


def _simulated(facts: Facts, slots: int, repeat: int) -> _Once:
    """Search, finals, test and bundle of one sweep."""
    space, recipe, probed = _reseeded(facts.space, repeat), facts.recipe, facts.probe
    clock = Clock()
    journal = Journal(None, clock)
    journal.begin("plan", space.question)
    course = _courses(facts, space, repeat)
    probable = (space.finalists.count + space.baseline) * len(space.final_seeds)
    search_facts = SearchFacts(
        recipe=recipe,
        config_of=lambda changed: changed.config_hash("plan"),
        evaluation_samples=facts.evaluation_samples,
        budget=Budget(space.budget, space.resources, slots, probable),
        disk_bytes=lambda: 0,
        model_bytes=lambda: probed.model_bytes,
    )
    clock.now += probed.open_s
    searched = simulate(
        Search(space, search_facts, journal), course, slots, clock, probed.between_s
    )
    chosen = choose(space, recipe, journal.trials)
    runs = final_runs(chosen, lambda values, seed: f"{sorted(values.items())} s{seed}")
    settled = simulate(Finals(runs, journal), course, slots, clock, probed.between_s)
    tests = len(space.final_seeds) * probed.decode_s * facts.test_share
    states = [trial.state for trial in journal.trials if trial.twin is None]
    return _Once(
        seconds=clock.now + tests + _FRESH_PROCESS_S + probed.decode_s,
        run_seconds=searched.run_seconds + settled.run_seconds,
        finished=states.count("finished"),
        pruned=states.count("pruned"),
        final_runs=len(runs),
    )


def _reseeded(space: SearchSpace, repeat: int) -> SearchSpace:
    """The space with another seed of its search, which no final run uses."""
    seed = space.search.seed if repeat == 0 else derive_seed(space.search.seed, repeat) % 2**31
    return space.model_copy(update={"search": space.search.model_copy(update={"seed": seed})})


def _courses(facts: Facts, space: SearchSpace, repeat: int) -> Callable[[Proposal], Course]:
    """How runs would go: measured times, made-up losses."""
    names: set[str] = {metric.name for metric in space.objectives}
    names |= {space.scheduler.metric, "token_loss"}

    def scores(loss: float) -> dict[str, float]:
        return {name: loss if name in MINIMISED else -loss for name in names}

    def course(proposal: Proposal) -> Course:
        rng = generator(repeat, "course", repr(sorted(proposal.values.items())), proposal.seed)
        paces = facts.probe.paces if proposal.values else facts.probe.paces[:1]
        pace = paces[int(rng.integers(len(paces)))]
        training = apply(facts.recipe, proposal.values).training
        floor, told, seconds = 2 + rng.normal(0, 0.3), [], pace.start_s
        step = 0
        while step < training.max_steps:
            steps = min(training.eval_steps, training.max_steps - step)
            step += steps
            seconds += steps * pace.step_s + pace.evaluation_s
            share = step / training.max_steps
            loss = floor + 3 * math.exp(-5 * share) + rng.normal(0, 0.03)
            told.append((seconds, {"step": step, "samples": step * pace.samples, **scores(loss)}))
        end_s = pace.end_s + (facts.probe.decode_s if proposal.phase != "search" else 0.0)
        return Course(told, End("finished", scores(floor), "", seconds + end_s))

    return course
