"""The search as decisions: requests, ends, twins, arms, budgets, resume. No Ray, no clock."""

from pathlib import Path
from typing import Any

import pytest

from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.planning.simulation import SimulationResult, VirtualClock, simulate_policy
from kinesweep.sweeps.search.ask_tell import MAX_DEATHS, RunEnd
from spaces import LAYERS, RATE, SAMPLES, course, load, search, virtual

FINISHED = RunEnd("finished", {"bleu": 5.0, "token_loss": 1.0}, seconds=10.0)


def drive(policy: Any, clock: VirtualClock, score: Any, slots: int = 2) -> SimulationResult:
    return simulate_policy(policy, lambda p: course(score(p.values)), slots, clock)


@pytest.mark.parametrize("kind", ["random", "qmc", "tpe", "cmaes", "nsga2"])
def test_every_kind_ends_with_its_trials(tmp_path: Path, kind: str) -> None:
    space, recipe = load(tmp_path, search={"kind": kind, "trials": 12})
    journal, clock = virtual()
    drive(search(space, recipe, journal), clock, lambda v: 30 - 1000 * v[RATE])
    own = [t for t in journal.trials if t.duplicate_of is None]
    assert len(own) == 12
    assert {t.state for t in own} <= {"finished", "pruned"}
    assert len({t.config_hash for t in own}) == 12


def test_a_grid_is_tried_whole_and_once(tmp_path: Path) -> None:
    parameters = {RATE: {"choices": [0.1, 0.2]}, LAYERS: {"int": [1, 3]}}
    space, recipe = load(
        tmp_path, search={"kind": "grid"}, parameters=parameters, pruner={"kind": "none"}
    )
    journal, clock = virtual()
    drive(search(space, recipe, journal), clock, lambda v: 1.0)
    assert {(t.values[RATE], t.values[LAYERS]) for t in journal.trials} == {
        (rate, layers) for rate in (0.1, 0.2) for layers in (1, 2, 3)
    }
    assert len(journal.trials) == 6


def test_tpe_learns(tmp_path: Path) -> None:
    def best(kind: str, seed: int) -> float:
        space, recipe = load(
            tmp_path,
            search={"kind": kind, "trials": 30, "seed": seed},
            pruner={"kind": "none"},
            finalists={"seeds": [91, 92]},
            parameters={RATE: {"log": [1e-6, 1.0]}},
        )
        journal, clock = virtual()
        drive(search(space, recipe, journal), clock, lambda v: -abs(v[RATE] - 3e-4) / v[RATE])
        return max(t.scores["bleu"] for t in journal.trials if t.scores)

    assert sum(best("tpe", s) > best("random", s) for s in range(6)) >= 5


def test_twins_take_over_the_result(tmp_path: Path) -> None:
    space, recipe = load(
        tmp_path,
        search={"kind": "random", "trials": 9},
        parameters={LAYERS: {"int": [1, 3]}},
        pruner={"kind": "none"},
    )
    journal, clock = virtual()
    done = drive(search(space, recipe, journal), clock, lambda v: float(v[LAYERS]))
    assert done.num_runs == 3
    twins = [t for t in journal.trials if t.duplicate_of is not None]
    assert twins
    for trial in twins:
        assert trial.state == "finished"
        assert trial.scores["bleu"] == trial.values[LAYERS]
        assert trial.seconds == 0


def test_every_level_gets_the_same_trials_and_rungs_of_its_own(tmp_path: Path) -> None:
    parameters = {
        LAYERS: {"role": "scientific", "choices": [1, 2]},
        RATE: {"log": [1e-4, 1e-2]},
    }
    space, recipe = load(tmp_path, parameters=parameters, search={"kind": "tpe", "trials": 12})
    journal, clock = virtual()
    # One level is far ahead in loss; beside it the other would be pruned whole.
    drive(search(space, recipe, journal), clock, lambda v: 20.0 * v[LAYERS] - v[RATE])
    for level in (1, 2):
        own = [t for t in journal.trials if t.values[LAYERS] == level and t.duplicate_of is None]
        assert len(own) == 6
        assert any(t.state == "finished" for t in own)


def test_what_ran_when_the_driver_died_is_tried_again_under_its_number(tmp_path: Path) -> None:
    space, recipe = load(tmp_path, search={"kind": "random", "trials": 5})
    undisturbed, clock = virtual()
    drive(search(space, recipe, undisturbed), clock, lambda v: 1000 * v[RATE])
    journal = Journal(tmp_path / "sweep")
    journal.start_session("one", "?")
    first = search(space, recipe, journal)
    one, two = first.propose(), first.propose()
    assert one is not None
    assert two is not None
    first.tell(one.key, FINISHED)
    journal.close()
    again = Journal(tmp_path / "sweep")
    policy = search(space, recipe, again)
    resumed = policy.propose()
    assert resumed == two
    policy.tell(two.key, FINISHED)
    simulate_policy(policy, lambda p: course(1.0), 2, VirtualClock())
    assert [t.values for t in again.trials] == [t.values for t in undisturbed.trials]


def test_the_dead_are_tried_again_but_not_for_ever(tmp_path: Path) -> None:
    space, recipe = load(tmp_path, search={"kind": "tpe", "trials": 1})
    journal, _ = virtual()
    policy = search(space, recipe, journal)
    for _ in range(MAX_DEATHS):
        request = policy.propose()
        assert request is not None
        policy.tell(request.key, RunEnd("died", {}, "killed", 1.0))
    assert policy.is_finished
    assert [(t.state, t.seconds) for t in journal.trials] == [("failed", float(MAX_DEATHS))]
    assert "killed" in journal.trials[0].reason


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        (RunEnd("finished", {"bleu": float("nan")}), "failed", "bleu is not a number"),
        (RunEnd("finished", {"chrf": 3.0}), "failed", "bleu is not a number"),
        (RunEnd("failed", {}, "diverged"), "failed", "diverged"),
        (RunEnd("pruned"), "pruned", ""),
    ],
)
def test_ends_are_told_as_they_were(tmp_path: Path, end: RunEnd, state: str, reason: str) -> None:
    space, recipe = load(tmp_path)
    journal, _ = virtual()
    policy = search(space, recipe, journal)
    request = policy.propose()
    assert request is not None
    policy.report_evaluation(request.key, {"step": 4, "samples": 32, "token_loss": 3.0})
    policy.tell(request.key, end)
    study = policy._arms.arms[0].sampler._study  # type: ignore[attr-defined]
    assert (journal.trials[0].state, study.trials[0].state.is_finished()) == (state, True)
    assert reason in journal.trials[0].reason
    # BLEU rises where losses fall, and samplers order pruned trials by it.
    assert list(study.trials[0].intermediate_values.values()) == [-3.0]


def test_a_loss_that_is_no_number_ends_the_trial(tmp_path: Path) -> None:
    space, recipe = load(tmp_path, pruner={"kind": "none"})
    journal, _ = virtual()
    policy = search(space, recipe, journal)
    request = policy.propose()
    assert request is not None
    nan = {"step": 4, "samples": 32, "token_loss": float("nan")}
    assert policy.report_evaluation(request.key, nan) is False
    assert not journal.trials[0].losses


def test_the_warm_up_is_not_judged(tmp_path: Path) -> None:
    space, recipe = load(tmp_path, parameters={"training.warmup_steps": {"choices": [2, 8]}})
    journal, _ = virtual()
    policy = search(space, recipe, journal)
    request = policy.propose()
    assert request is not None
    warmup = request.values["training.warmup_steps"]
    policy.report_evaluation(request.key, {"step": 10, "samples": 80, "token_loss": 3.0})
    assert list(journal.trials[0].losses) == [pytest.approx(80 * (1 - warmup / 10))]


def test_several_objectives_are_all_told(tmp_path: Path) -> None:
    space, recipe = load(
        tmp_path,
        metric=[{"name": "bleu"}, {"name": "parameters"}],
        search={"kind": "nsga2", "trials": 8},
        pruner={"kind": "none"},
    )
    journal, clock = virtual()
    policy = search(space, recipe, journal)
    drive(policy, clock, lambda v: 1000 * v[RATE])
    assert all(set(t.scores) == {"bleu", "parameters"} for t in journal.trials)
    study = policy._arms.arms[0].sampler._study  # type: ignore[attr-defined]
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert len([t for t in study.trials if t.values]) == len(journal.trials)


def test_hours_leave_room_for_the_finals(tmp_path: Path) -> None:
    space, recipe = load(
        tmp_path,
        search={"kind": "random", "trials": 100},
        pruner={"kind": "none"},
        budget={"hours": 0.1},
    )
    journal, clock = virtual()
    # A run takes 10 s; 4 final runs on 2 slots take 2 × 10 × 1.2 s of the 360 s.
    done = drive(search(space, recipe, journal, final_runs=4), clock, lambda v: 1.0)
    assert 300 < done.seconds <= 360 - 24
    stopped = journal.find_last_event("search_stopped")
    assert stopped is not None
    assert "0.1 hours" in stopped["reason"]
    assert all(t.state == "finished" for t in journal.trials)


def test_device_hours_count_all_runs(tmp_path: Path) -> None:
    space, recipe = load(
        tmp_path,
        search={"kind": "random", "trials": 100},
        pruner={"kind": "none"},
        budget={"device_hours": 0.1},
        resources={"workers": 2},
    )
    journal, clock = virtual()
    done = drive(search(space, recipe, journal, final_runs=4), clock, lambda v: 1.0)
    used = 2 * (done.run_seconds + 4 * 10 * 1.2)
    assert 300 < used <= 360


def test_a_budget_that_ends_within_the_first_trials_leaves_what_they_reported(
    tmp_path: Path,
) -> None:
    space, recipe = load(tmp_path, pruner={"kind": "none"}, budget={"hours": 0.001})
    journal, clock = virtual()
    drive(search(space, recipe, journal, final_runs=4), clock, lambda v: 1.0)
    assert {t.state for t in journal.trials} == {"pruned"}
    assert all("budget" in t.reason and t.losses for t in journal.trials)


def test_a_score_is_compared_as_its_negative(tmp_path: Path) -> None:
    space, recipe = load(tmp_path, pruner={"kind": "median", "metric": "bleu"})
    journal, _ = virtual()
    policy = search(space, recipe, journal)
    request = policy.propose()
    assert request is not None
    policy.report_evaluation(
        request.key, {"step": 4, "samples": 32, "token_loss": 1.0, "bleu": 3.0}
    )
    assert list(journal.trials[0].losses.values()) == [-3.0]


def test_a_resumed_search_compares_with_the_losses_before(tmp_path: Path) -> None:
    space, recipe = load(tmp_path, pruner={"kind": "asha", "grace_period": 1})
    journal, _ = virtual()
    first = search(space, recipe, journal)
    good = first.propose()
    assert good is not None
    evaluation = {"step": 4, "samples": 10 * SAMPLES}
    assert first.report_evaluation(good.key, {**evaluation, "token_loss": 1.0})
    first.tell(good.key, FINISHED)
    again = search(space, recipe, journal)
    bad = again.propose()
    assert bad is not None and bad.key != good.key
    assert not again.report_evaluation(bad.key, {**evaluation, "token_loss": 9.0})


def test_a_resumed_sampler_draws_other_numbers(tmp_path: Path) -> None:
    space, recipe = load(tmp_path, search={"kind": "tpe", "trials": 20})
    journal, _ = virtual()
    first = search(space, recipe, journal)
    one = first.propose()
    assert one is not None
    first.tell(one.key, FINISHED)
    two = search(space, recipe, journal).propose()
    assert two is not None
    assert two.values[RATE] != one.values[RATE]
    assert [trial.duplicate_of for trial in journal.trials] == [None, None]


def test_who_gets_no_further_before_dying_is_given_up(tmp_path: Path) -> None:
    """Each attempt reports the evaluation again that the one before it had reached."""
    space, recipe = load(tmp_path, search={"kind": "tpe", "trials": 1})
    journal, _ = virtual()
    policy = search(space, recipe, journal)
    for _ in range(MAX_DEATHS):
        request = policy.propose()
        assert request is not None
        assert policy.report_evaluation(request.key, {"step": 4, "samples": 32, "token_loss": 3.0})
        policy.tell(request.key, RunEnd("died", {}, "killed", 1.0))
    assert policy.is_finished
    assert journal.trials[0].state == "failed"
