"""Cost estimate of a sweep, from short pilot runs and a simulation of the sweep's own policies.

Durations are measured; only the losses are synthetic. Each run draws a final loss at random and
approaches it exponentially, which determines the trials that are pruned. Runs are assumed to train
for all of their `max_steps`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.core.errors import ResourceError
from kinesweep.core.seeds import create_generator, derive_seed
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.planning.pilot_runs import PilotMeasurements
from kinesweep.sweeps.planning.simulation import SimulatedRun, VirtualClock, simulate_policy
from kinesweep.sweeps.planning.sweep_plan import CostRow, SweepPlan
from kinesweep.sweeps.results.tukey_test import compute_min_detectable_difference
from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest
from kinesweep.sweeps.search.budget import Budget
from kinesweep.sweeps.search.finals import FinalsPolicy, list_final_runs, select_finalists
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from kinesweep.sweeps.space.loading import apply_overrides, compute_base_values
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.workers.placement import count_slots as count_fitting_slots

_NUM_REPEATS, _NUM_TABLE_REPEATS = 9, 3
"""Number of simulations for the given cluster, and for each other number of devices."""
_UNLIMITED_CPUS = 1e6
"""CPUs of a hypothetical cluster whose size is limited by its GPUs."""
_VERIFICATION_S = 10.0
"""Duration of a bundle's verification in a new process; measured 8 to 12 s, mostly imports."""
_DEVICE_COUNTS = tuple(2**power for power in range(10))
"""Numbers of devices in the table: 1 to 512."""


@dataclass(frozen=True)
class CostInputs:
    """The inputs of a cost estimate.

    Attributes:
        space: The search space.
        recipe: Recipe that the sweep tunes.
        measurements: Measurements of the pilot runs.
        samples_per_eval: Number of clips that a run sees between two evaluations.
        test_share: Ratio of test clips to validation clips.
        store_bytes: Size of the feature store in bytes.
        resolve_training: Function from a recipe to its training settings, resolved to steps.
    """

    space: SearchSpace
    recipe: Recipe
    measurements: PilotMeasurements
    samples_per_eval: float
    test_share: float
    store_bytes: int
    resolve_training: Callable[[AnyRecipe], ResolvedTrainingConfig] = SearchContext.resolve_training


def estimate_sweep_cost(
    inputs: CostInputs, nodes: Sequence[Mapping[str, float]], seed_sd: float, sentence_sd: float
) -> SweepPlan:
    """Estimate the cost of a sweep on the given cluster and on other numbers of devices.

    Args:
        inputs: Inputs of the estimate.
        nodes: Resources of each node, `{"CPU": …, "GPU": …}`.
        seed_sd: Standard deviation of a final score between seeds.
        sentence_sd: Standard error of a difference that is due to the choice of sentences.

    Raises:
        ResourceError: If a run does not fit in the given cluster.
    """
    resources = inputs.space.resources
    device_kind = "GPU" if resources.gpus else "CPU"
    cluster_row = _estimate_row(
        inputs,
        count_fitting_slots(resources, nodes),
        sum(node.get(device_kind, 0) for node in nodes),
        _NUM_REPEATS,
    )
    rows = []
    for devices in _DEVICE_COUNTS:
        try:
            num_slots = count_fitting_slots(
                resources, [{"CPU": _UNLIMITED_CPUS, device_kind: devices}]
            )
        except ResourceError:
            continue  # too few devices for a single run
        rows.append(_estimate_row(inputs, num_slots, devices, _NUM_TABLE_REPEATS))
    num_finalists = inputs.space.finalists.count + inputs.space.baseline
    # A ranking needs two seeds and two configurations; smaller spaces get the estimate for these.
    num_seeds = max(2, len(inputs.space.final_seeds))
    return SweepPlan(
        cluster_row,
        rows,
        compute_min_detectable_difference(seed_sd, sentence_sd, num_seeds, max(2, num_finalists)),
    )


@dataclass(frozen=True)
class _SimulatedSweep:
    """The durations and counts of one simulated sweep.

    Attributes:
        seconds: Duration of the sweep.
        run_seconds: Duration of all runs together.
        finished: Number of trials that train to their end.
        pruned: Number of trials that are stopped early.
        num_final_runs: Number of runs in the finals.
    """

    seconds: float
    run_seconds: float
    finished: int
    pruned: int
    num_final_runs: int


def _estimate_row(inputs: CostInputs, num_slots: int, devices: float, num_repeats: int) -> CostRow:
    """Simulate a sweep several times, each time with another seed, and aggregate the costs.

    Args:
        inputs: Inputs of the estimate.
        num_slots: Number of runs at a time.
        devices: Number of devices, only for the row.
        num_repeats: Number of simulations.
    """
    simulations = [_simulate_sweep(inputs, num_slots, repeat) for repeat in range(num_repeats)]
    seconds = sorted(simulation.seconds for simulation in simulations)
    # The device hours of a plan are those that `budget.device_hours` limits.
    budget = Budget(inputs.space.budget, inputs.space.resources, num_slots, 0)
    num_runs = median(simulation.finished + simulation.num_final_runs for simulation in simulations)
    # A run in progress stores up to three checkpoints in addition to its best model.
    num_models = num_runs + 3 * min(num_slots, num_runs)
    return CostRow(
        devices=devices,
        slots=num_slots,
        hours=median(seconds) / 3600,
        # With fewer than ten simulations, these are the fastest and the slowest one.
        low=seconds[len(seconds) // 10] / 3600,
        high=seconds[-1 - len(seconds) // 10] / 3600,
        device_hours=fmean(simulation.run_seconds for simulation in simulations)
        * budget.devices_per_run
        / 3600,
        finished=fmean(simulation.finished for simulation in simulations),
        pruned=fmean(simulation.pruned for simulation in simulations),
        # The last model is the winner's, copied into the bundle.
        disk_bytes=int(inputs.store_bytes + inputs.measurements.model_bytes * (num_models + 1)),
    )


def _simulate_sweep(inputs: CostInputs, num_slots: int, repeat: int) -> _SimulatedSweep:
    """Simulate one sweep: search, finals, test scoring and export of the bundle.

    Args:
        inputs: Inputs of the estimate.
        num_slots: Number of runs at a time.
        repeat: Index of the repetition, which determines the random seeds.
    """
    space = _reseed_space(inputs.space, repeat)
    recipe, measurements = inputs.recipe, inputs.measurements
    clock = VirtualClock()
    journal = Journal(None, clock)
    journal.start_session("plan", space.question)
    simulate_run = _build_run_simulator(inputs, space, repeat)
    num_final_runs = (space.finalists.count + space.baseline) * len(space.final_seeds)
    context = SearchContext(
        recipe=recipe,
        # A constant stands for the fingerprint of the features.
        compute_config_hash=lambda trial_recipe: trial_recipe.compute_config_hash("plan"),
        samples_per_eval=inputs.samples_per_eval,
        budget=Budget(space.budget, space.resources, num_slots, num_final_runs),
        resolve_training=inputs.resolve_training,
        compute_disk_bytes=lambda: 0,
        compute_model_bytes=lambda: measurements.model_bytes,
    )
    clock.now += measurements.pool_overhead_s
    search_result = simulate_policy(
        SearchPolicy(space, context, journal), simulate_run, num_slots, clock, measurements.gap_s
    )
    finalists = select_finalists(space, compute_base_values(space, recipe), journal.trials)
    # Names of run folders need only be equal for equal configurations and seeds.
    runs = list_final_runs(finalists, lambda values, seed: f"{sorted(values.items())} s{seed}")
    finals_result = simulate_policy(
        FinalsPolicy(runs, journal), simulate_run, num_slots, clock, measurements.gap_s
    )
    # The winner's seeds are decoded on test one after the other.
    test_s = len(space.final_seeds) * measurements.decode_s * inputs.test_share
    states = [trial.state for trial in journal.trials if trial.duplicate_of is None]
    return _SimulatedSweep(
        seconds=clock.now + test_s + _VERIFICATION_S + measurements.decode_s,
        run_seconds=search_result.run_seconds + finals_result.run_seconds,
        finished=states.count("finished"),
        pruned=states.count("pruned"),
        num_final_runs=len(runs),
    )


def _reseed_space(space: SearchSpace, repeat: int) -> SearchSpace:
    """Return a copy of the space with another search seed, except for the first repetition."""
    seed = space.search.seed if repeat == 0 else derive_seed(space.search.seed, repeat) % 2**31
    return space.model_copy(update={"search": space.search.model_copy(update={"seed": seed})})


def _build_run_simulator(
    inputs: CostInputs, space: SearchSpace, repeat: int
) -> Callable[[RunRequest], SimulatedRun]:
    """Build a function that simulates a run with measured durations and synthetic losses.

    Args:
        inputs: Inputs of the estimate.
        space: Search space with the search seed of this repetition.
        repeat: Index of the repetition; runs of different repetitions have different losses.
    """
    signs = {"token_loss": -1, space.pruner.metric: space.pruner.direction_sign}
    signs |= {objective.name: objective.direction_sign for objective in space.objectives}

    def build_scores(loss: float) -> dict[str, float]:
        # Policies compare trials with each other, so the scale of a score is irrelevant.
        return {name: -sign * loss for name, sign in signs.items()}

    def simulate_run(request: RunRequest) -> SimulatedRun:
        # Seeded by configuration and seed, so a run has the same losses whenever it starts.
        rng = create_generator(repeat, "course", repr(sorted(request.values.items())), request.seed)
        # A run without any values is the untuned recipe, which was measured itself; all others get
        # one of the measured durations at random.
        timings = inputs.measurements.timings if request.values else inputs.measurements.timings[:1]
        timing = timings[int(rng.integers(len(timings)))]
        training = inputs.resolve_training(apply_overrides(inputs.recipe, request.values))
        # The loss decays from about 5 to a final loss near 2, with noise around both.
        final_loss, evaluations, seconds = 2 + rng.normal(0, 0.3), [], timing.start_s
        step = 0
        while step < training.max_steps:
            num_steps = min(training.eval_steps, training.max_steps - step)
            step += num_steps
            seconds += num_steps * timing.step_s + timing.evaluation_s
            progress = step / training.max_steps
            loss = final_loss + 3 * math.exp(-5 * progress) + rng.normal(0, 0.03)
            evaluations.append(
                (seconds, {"step": step, "samples": step * timing.samples, **build_scores(loss)})
            )
        end_s = timing.end_s + (inputs.measurements.decode_s if request.phase != "search" else 0.0)
        return SimulatedRun(
            evaluations, RunEnd("finished", build_scores(final_loss), "", seconds + end_s)
        )

    return simulate_run
