"""Plans: measured paces in, hours out; the policies are the sweep's own."""

from pathlib import Path
from typing import Any

import pytest

from kinesweep.core.errors import InputError, ResourceError
from kinesweep.pipelines.cluster.cluster_size import parse_cluster_size
from kinesweep.sweeps.planning.cost_estimate import (
    CostInputs,
    _build_run_simulator,
    estimate_sweep_cost,
)
from kinesweep.sweeps.planning.pilot_runs import (
    PilotMeasurements,
    _build_requests,
    _compute_median_gap_s,
)
from kinesweep.sweeps.planning.step_timer import StepTiming, compute_step_timing
from kinesweep.sweeps.search.ask_tell import RunRequest
from spaces import SPACE, load, search, virtual

pytestmark = pytest.mark.integration

PACE = StepTiming(start_s=1.0, step_s=0.5, evaluation_s=2.0, end_s=3.0, samples=8.0)
RUN_S = 1.0 + 12 * 0.5 + 3 * 2.0 + 3.0
"""The tiny recipe has 12 steps and 3 evaluations."""
PLAIN: dict[str, Any] = {
    "search": {"kind": "random", "trials": 8},
    "pruner": {"kind": "none"},
    "finalists": {"count": 2, "seeds": [1, 2]},
    "baseline": False,
    "sanity_baselines": [],
}


def facts(tmp_path: Path, decode_s: float = 4.0, **changes: Any) -> CostInputs:
    space, recipe = load(tmp_path, **{**PLAIN, **changes})
    probed = PilotMeasurements(
        [PACE], decode_s, pool_overhead_s=10.0, gap_s=0.5, model_bytes=1000, seconds=60.0
    )
    return CostInputs(space, recipe, probed, 8.0 * 4, test_share=0.5, store_bytes=10**6)


def test_a_plan_without_pruning_is_a_sum(tmp_path: Path) -> None:
    here = estimate_sweep_cost(facts(tmp_path), [{"CPU": 2.0}], 1.0, 0.5).here
    assert here.slots == 2
    search = 4 * (RUN_S + 0.5)
    finals = 2 * (RUN_S + 4.0 + 0.5)
    test_and_bundle = 2 * 4.0 * 0.5 + 10.0 + 4.0
    expected = 10.0 + search + finals + test_and_bundle
    assert here.hours * 3600 == pytest.approx(expected)
    assert here.low == here.high == here.hours
    assert here.device_hours * 3600 == pytest.approx(8 * (RUN_S + 0.5) + 4 * (RUN_S + 4.5))
    assert (here.finished, here.pruned) == (8, 0)


def test_more_devices_are_faster_until_there_are_no_more_runs(tmp_path: Path) -> None:
    plan = estimate_sweep_cost(facts(tmp_path), [{"CPU": 2.0}], 1.0, 0.5)
    assert [row.devices for row in plan.rows] == [2**power for power in range(10)]
    hours = [row.hours for row in plan.rows]
    assert hours == sorted(hours, reverse=True)
    assert hours[0] > 3 * hours[3]
    assert hours[4] == hours[9]


def test_pruning_saves_device_hours(tmp_path: Path) -> None:
    scheduler = {"kind": "asha", "grace_period": 1, "reduction_factor": 2}
    whole = estimate_sweep_cost(facts(tmp_path), [{"CPU": 2.0}], 1.0, 0.5).here
    pruned = estimate_sweep_cost(facts(tmp_path, pruner=scheduler), [{"CPU": 2.0}], 1.0, 0.5).here
    assert pruned.pruned > 0
    assert pruned.finished + pruned.pruned == 8
    assert pruned.device_hours < whole.device_hours


def test_losses_fall_and_scores_rise(tmp_path: Path) -> None:
    inputs = facts(tmp_path, metric=[{"name": "bleu"}, {"name": "decode_ms"}])
    run = _build_run_simulator(inputs, inputs.space, 0)(RunRequest("a", {}, 0, "search"))
    first, *_, last = [metrics for _, metrics in run.evaluations]
    assert first["token_loss"] > last["token_loss"] > 0
    assert first["decode_ms"] > last["decode_ms"] > 0
    assert first["bleu"] < last["bleu"]


def test_a_budget_is_kept_in_the_plan(tmp_path: Path) -> None:
    known = facts(tmp_path, budget={"hours": 0.05}, search={"kind": "random", "trials": 60})
    here = estimate_sweep_cost(known, [{"CPU": 1.0}], 1.0, 0.5).here
    assert 0 < here.finished < 60
    assert here.hours < 0.06


def test_gpus_are_devices_where_runs_take_them(tmp_path: Path) -> None:
    known = facts(tmp_path, resources={"workers": 2, "cpus": 1, "gpus": 1})
    plan = estimate_sweep_cost(known, [{"CPU": 16.0, "GPU": 8.0}], 1.0, 0.5)
    assert (plan.here.devices, plan.here.slots) == (8, 4)
    assert [row.devices for row in plan.rows][:2] == [2, 4]
    with pytest.raises(ResourceError, match="one run needs"):
        estimate_sweep_cost(known, [{"CPU": 16.0, "GPU": 1.0}], 1.0, 0.5)


def test_noise_decides_what_can_be_seen(tmp_path: Path) -> None:
    known = facts(tmp_path)
    quiet = estimate_sweep_cost(known, [{"CPU": 2.0}], 0.5, 0.5).min_detectable_difference
    assert quiet < estimate_sweep_cost(known, [{"CPU": 2.0}], 2.0, 0.5).min_detectable_difference


def test_paces_are_read_from_the_clock() -> None:
    rows: list[dict[str, Any]] = [{"time": 100.0, "pid": 1}]
    rows += [{"time": 103.0, "step": 2, "samples": 16, "samples_per_s": 8.0}]
    rows += [{"time": 105.0, "step": 4, "samples": 32, "samples_per_s": 8.0}]
    rows += [{"time": 108.0, "step": 4, "samples": 32, "evaluation_s": 2.5}]
    rows += [{"time": 112.0, "step": 8, "samples": 64, "samples_per_s": 8.0}]
    rows += [{"time": 115.0, "step": 8, "samples": 64, "evaluation_s": 2.5}]
    rows += [{"time": 119.0, "finish": "finished", "pid": 1}]
    pace = compute_step_timing(rows)
    assert pace == StepTiming(start_s=1.0, step_s=1.0, evaluation_s=3.0, end_s=4.0, samples=8.0)
    # Steps took longer than the median says: what is left for evaluations is less than they took.
    slower = [{**row, "samples_per_s": 4.0} if "samples_per_s" in row else row for row in rows]
    assert compute_step_timing(slower).evaluation_s == 2.5
    later = [{"time": 119.5, "pid": 1}, {"time": 130.0, "pid": 1}]
    assert _compute_median_gap_s([later, rows]) == pytest.approx(0.5)
    assert _compute_median_gap_s([rows]) == 0.0


@pytest.mark.parametrize("text", ["cpu=4", "cpus", "gpus=many", "cpus=1;gpus=2"])
def test_a_bad_cluster_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="cpus=64,gpus=8"):
        parse_cluster_size(text)


def test_a_cluster_is_read() -> None:
    assert parse_cluster_size("cpus=64,gpus=8") == {"CPU": 64.0, "GPU": 8.0}
    assert parse_cluster_size("") is None


def test_device_hours_are_those_that_the_budget_limits(tmp_path: Path) -> None:
    """Without GPUs each worker is a device, whatever number of CPUs it has."""
    four = facts(tmp_path, resources={"workers": 1, "cpus": 4})
    one = facts(tmp_path, resources={"workers": 1, "cpus": 1})
    hours = [
        estimate_sweep_cost(inputs, [{"CPU": 8.0}], 1.0, 0.5).here.device_hours
        for inputs in (four, one)
    ]
    assert hours[0] == pytest.approx(hours[1])


def test_pilot_runs_are_short_whatever_the_space_fixes(tmp_path: Path) -> None:
    """A fixed number of steps makes a pilot run shorter, never longer."""
    fixed = {"role": "fixed", "choices": [100_000]}
    parameters = {**SPACE["parameters"], "training.max_steps": fixed}
    space, recipe = load(tmp_path, parameters=parameters)
    assert space.fixed_values == {"training.max_steps": 100_000}
    journal, _ = virtual()
    requests = _build_requests(space, search(space, recipe, journal))
    assert len(requests) == 5
    assert not any("training.max_steps" in request.values for request in requests)
