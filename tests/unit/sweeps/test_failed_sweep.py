"""A sweep of which nothing was trained says so; of which something failed, what and why."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinesweep.core.errors import TrainingError
from kinesweep.pipelines.sweeps.sweep import SweepResult, raise_if_search_failed
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.results.failures import explain_failed_trials, find_failed_runs
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest
from kinesweep.sweeps.search.finals import sort_trials
from kinesweep.sweeps.space.loading import apply_overrides
from kinesweep.sweeps.sweep import Sweep, run_sweep
from sweeping import RATE, Here, Lab, OpenTimed, make_lab

pytestmark = pytest.mark.integration

DIVERGE = {RATE: {"log": [1e29, 1e30]}}
PLAN: dict[str, Any] = {
    "search": {"kind": "random", "trials": 3},
    "finalists": {"count": 1, "seeds": [1, 2]},
    "sanity_baselines": [],
    "parameters": DIVERGE,
}


class DyingFinals(Here):
    """Workers that are killed in every run of the finals."""

    def train(self, policy: Any, request: RunRequest, build_job: Any) -> RunEnd:
        if request.phase == "search":
            return super().train(policy, request, build_job)
        return RunEnd("died", {}, "its process was killed")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    return make_lab(folder, training={"max_steps": 4, "eval_steps": 2, "logging_steps": 4})


def sweep(lab: Lab, folder: Path, runner: Any = Here, **changes: Any) -> SweepOutcome:
    space = lab.space(**{**PLAN, **changes})
    log = OpenTimed(folder / "times")
    return run_sweep(
        Sweep(space, lab.recipe, lab.stores, folder, log, lambda _: None, open_runner=runner)
    )


def test_all_trials_diverged(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"^all 3 trials of the search diverged: .*learning_rat"
    ):
        sweep(lab, tmp_path / "sweep", baseline=False)


def test_all_trials_diverged_but_the_untuned_recipe_did_not(lab: Lab, tmp_path: Path) -> None:
    """The ranking of the untuned recipe is written, and is no success."""
    outcome = sweep(lab, tmp_path / "sweep")
    assert outcome.winner == "untuned" and outcome.has_failed_search
    assert any(note.startswith("All 3 trials of the search diverged") for note in outcome.notes)
    result = SweepResult(outcome, tmp_path / "sweep", tmp_path, tmp_path / "page.html", "")
    with pytest.raises(TrainingError, match=r"all 3 trials .*diverged.*page.html"):
        raise_if_search_failed(result)


def test_the_untuned_recipe_diverged_too(lab: Lab, tmp_path: Path) -> None:
    diverging = replace(lab, recipe=apply_overrides(lab.recipe, {RATE: 1e30}))
    with pytest.raises(TrainingError, match=r"no ranking: untuned, .*diverged.* all 3 trials"):
        sweep(diverging, tmp_path / "sweep")


def test_workers_that_are_killed_in_the_finals(lab: Lab, tmp_path: Path) -> None:
    good = {RATE: {"log": [1e-4, 1e-2]}}
    with pytest.raises(TrainingError, match=r"no ranking: .*its process was killed"):
        sweep(lab, tmp_path / "sweep", DyingFinals, parameters=good)
    # The same call trains the finals again, and what failed before is no note of the outcome.
    outcome = sweep(lab, tmp_path / "sweep", parameters=good)
    assert not outcome.has_failed_search
    assert not any("failed" in note for note in outcome.notes)


def journal_with(*reasons: str) -> Journal:
    journal = Journal(None)
    for number, reason in enumerate(reasons):
        journal.append_event("trial_created", trial=number, values={}, config=str(number))
        state = "failed" if reason else "finished"
        journal.append_event(
            "trial_ended", trial=number, state=state, scores={}, reason=reason, seconds=1.0
        )
    return journal


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        (("", ""), ""),
        (("diverged", ""), "1 of 2 trials of the search diverged"),
        (("diverged", "diverged: its loss is not a number"), "all 2 trials of the search diverged"),
        (("diverged", "InputError: a", ""), "2 of 3 trials of the search failed: diverged; Input"),
        (("a", "a"), r"all 2 trials of the search failed: a \(2 times\)$"),
        (("a", "b", "c", "d", "e"), "failed: a; b; c; and 2 other reasons$"),
    ],
)
def test_failed_trials_in_words(reasons: tuple[str, ...], text: str) -> None:
    explanation = explain_failed_trials(journal_with(*reasons).trials)
    assert re.search(text, explanation) if text else not explanation


def test_a_run_that_failed_and_then_finished_has_not_failed() -> None:
    journal = Journal(None)
    for run in ("a-s1", "a-s2"):
        journal.append_event("run_failed", run=run, finalist="a", reason="x", seconds=1.0)
    journal.append_event("run_finished", run="a-s1", finalist="a", scores={}, seconds=1.0)
    assert [event["run"] for event in find_failed_runs(journal)] == ["a-s2"]


def test_a_trial_that_diverged_late_is_no_finalist(lab: Lab) -> None:
    journal = Journal(None)
    for number, state in enumerate(("failed", "pruned")):
        journal.append_event("trial_created", trial=number, values={}, config=str(number))
        journal.append_event(
            "trial_reported", trial=number, step=2, samples=16, beyond=16.0, loss=1.0 - number
        )
        journal.append_event(
            "trial_ended", trial=number, state=state, scores={}, reason="", seconds=1.0
        )
    assert [trial.number for trial in sort_trials(lab.space(**PLAN), journal.trials)] == [1]
