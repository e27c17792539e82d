"""Searches over epochs and ratios: policies and plans see the steps that they resolve to."""

from dataclasses import replace
from pathlib import Path

import pytest

from kinesweep.core.clip import Clip
from kinesweep.data.run_length.step_counts import TrainingResolver
from kinesweep.store.format.index import ClipRecord
from kinesweep.sweeps.planning.cost_estimate import CostInputs, _build_run_simulator
from kinesweep.sweeps.planning.pilot_runs import (
    PilotMeasurements,
    _build_requests,
    _get_pilot_values,
)
from kinesweep.sweeps.planning.step_timer import StepTiming
from kinesweep.sweeps.search.ask_tell import RunRequest
from kinesweep.sweeps.search.search import SearchPolicy
from kinesweep.sweeps.space.loading import apply_overrides
from records import memory_store
from spaces import load, search, virtual

EPOCHS, RATIO = "training.num_train_epochs", "training.warmup_ratio"
CLIPS = [ClipRecord(Clip(str(n), "train", ("a",)), {"pose": 9}) for n in range(80)]


@pytest.fixture
def resolve() -> TrainingResolver:
    store = memory_store(*CLIPS)
    store.fingerprint = "eighty clips"
    return TrainingResolver(lambda _: store, num_workers=1)


def test_warmup_and_length_of_a_trial_are_resolved(
    tmp_path: Path, resolve: TrainingResolver
) -> None:
    values = {EPOCHS: {"choices": [2]}, RATIO: {"choices": [0.5]}}
    space, recipe = load(tmp_path, parameters=values)
    journal, _ = virtual()
    plain = search(space, recipe, journal)
    policy = SearchPolicy(space, replace(plain.context, resolve_training=resolve), journal)
    request = policy.propose()
    assert request is not None and request.values == {EPOCHS: 2, RATIO: 0.5}
    policy.report_evaluation(request.key, {"step": 15, "samples": 120, "token_loss": 1.0})
    # 80 clips in batches of 8 are 20 steps, of which 10 are warmup: a third is left of 15.
    reported = next(event for event in journal.events if event["event"] == "trial_reported")
    assert reported["beyond"] == pytest.approx(120 / 3)


def test_plans_and_pilot_runs(tmp_path: Path, resolve: TrainingResolver) -> None:
    space, recipe = load(tmp_path, parameters={EPOCHS: {"choices": [1, 3]}})
    timing = StepTiming(start_s=0.0, step_s=1.0, evaluation_s=0.0, end_s=0.0, samples=8.0)
    pilots = PilotMeasurements([timing], 0.0, 0.0, 0.0, 0, 0.0)
    inputs = CostInputs(space, recipe, pilots, 32.0, 0.0, 0, resolve)
    simulate = _build_run_simulator(inputs, space, 0)
    seconds = [simulate(RunRequest("a", {EPOCHS: n}, 0, "search")).end.seconds for n in (1, 3)]
    assert seconds == [10.0, 30.0]
    # Pilot runs keep their own length whatever a trial sets.
    long_recipe = apply_overrides(recipe, {EPOCHS: 100.0, "training.eval_epochs": 1.0})
    pilot = apply_overrides(long_recipe, _get_pilot_values(resolve(long_recipe))).training
    assert (pilot.max_steps, pilot.eval_steps, pilot.num_train_epochs) == (200, 100, None)
    requests = _build_requests(space, search(space, recipe, virtual()[0]))
    assert len(requests) > 2 and not any(EPOCHS in request.values for request in requests)
