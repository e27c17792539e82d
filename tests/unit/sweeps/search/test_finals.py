"""The finals: who takes part, on which seeds, and what a used-up budget leaves of them."""

from pathlib import Path
from typing import Any

import pytest

from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.planning.simulation import SimulatedRun, simulate_policy
from kinesweep.sweeps.search.ask_tell import MAX_DEATHS, RunEnd
from kinesweep.sweeps.search.finals import UNTUNED, FinalsPolicy, select_finalists, sort_trials
from kinesweep.sweeps.space.loading import compute_base_values
from kinesweep.sweeps.workers.tune_trainable import parse_run_end
from spaces import LAYERS, RATE, finals, load, virtual

DONE = SimulatedRun([], RunEnd("finished", {"bleu": 5.0}, seconds=10.0))


def trial(number: int, bleu: float | None = None, **more: Any) -> Trial:
    state = "pruned" if bleu is None else "finished"
    scores = {} if bleu is None else {"bleu": bleu, **more.pop("scores", {})}
    values = more.pop("values", {RATE: 1e-3 * (number + 1), LAYERS: 1 + number % 3})
    more.setdefault("config_hash", f"c{number}")
    return Trial(number, values, state=state, scores=scores, **more)  # type: ignore[arg-type]


def test_the_best_no_twins_and_the_sanity_runs(tmp_path: Path) -> None:
    space, recipe = load(tmp_path, sanity_baselines=["zeros", "shuffled"])
    trials = [trial(0, 5.0), trial(1, 5.0, duplicate_of=0), trial(2, 4.0), trial(3), trial(4, 3.0)]
    chosen = select_finalists(space, compute_base_values(space, recipe), trials)
    names = ["trial 0", "trial 2", UNTUNED, "trained on zeros", "trained on shuffled pairs"]
    assert [f.name for f in chosen] == names
    zeros = chosen[3]
    assert (zeros.ranked, zeros.seeds, zeros.values["batch.ablation"]) == (False, (1,), "zeros")
    assert zeros.values[RATE] == trials[0].values[RATE]


def test_every_level_is_represented(tmp_path: Path) -> None:
    space, recipe = load(
        tmp_path,
        parameters={LAYERS: {"role": "scientific", "choices": [1, 2, 3]}, RATE: {"log": [1e-4, 1]}},
        baseline=False,
        sanity_baselines=[],
    )
    trials = [trial(n, 10.0 - n, values={LAYERS: 1 + n // 3, RATE: 1e-3}) for n in range(9)]
    chosen = select_finalists(space, compute_base_values(space, recipe), trials)
    assert [f.name for f in chosen] == ["trial 0", "trial 1", "trial 3", "trial 6"]
    assert [f.level for f in chosen] == [f"encoder_layers={n}" for n in (1, 1, 2, 3)]


def test_the_front_goes_first(tmp_path: Path) -> None:
    space, recipe = load(
        tmp_path, metric=[{"name": "bleu"}, {"name": "parameters"}], pruner={"kind": "none"}
    )
    sizes = [9.0, 9.5, 2.0, 8.0]
    trials = [trial(n, 10.0 - n, scores={"parameters": s}) for n, s in enumerate(sizes)]
    assert [t.number for t in sort_trials(space, trials)] == [0, 2, 1, 3]
    chosen = select_finalists(space, compute_base_values(space, recipe), trials)
    assert [f.name for f in chosen[:3]] == ["trial 0", "trial 2", UNTUNED]


def test_who_was_furthest_is_best_where_none_finished(tmp_path: Path) -> None:
    space, _ = load(tmp_path)
    trials = [
        trial(0, losses={100.0: 1.0}),
        trial(1, losses={100.0: 5.0, 200.0: 4.0}),
        trial(2, losses={100.0: 5.0, 200.0: 3.0}),
        trial(3),
    ]
    assert [t.number for t in sort_trials(space, trials)] == [2, 1, 0]


def test_five_seeds_of_one_recipe(tmp_path: Path) -> None:
    noise = {"training.seed": {"role": "noise", "choices": [1, 2, 3, 4, 5]}}
    space, recipe = load(tmp_path, parameters=noise, sanity_baselines=[], baseline=False)
    assert [
        (f.name, f.seeds) for f in select_finalists(space, compute_base_values(space, recipe), [])
    ] == [(UNTUNED, (1, 2, 3, 4, 5))]


def test_fixed_values_lie_over_the_recipe_everywhere(tmp_path: Path) -> None:
    parameters = {RATE: {"log": [1e-4, 1e-2]}, LAYERS: {"role": "fixed", "choices": [2]}}
    space, recipe = load(tmp_path, parameters=parameters, sanity_baselines=["zeros"])
    chosen = select_finalists(
        space, compute_base_values(space, recipe), [trial(0, 5.0, values={RATE: 0.01})]
    )
    assert all(finalist.values[LAYERS] == 2 for finalist in chosen)


def drive(
    policy: FinalsPolicy, journal: Journal, clock: Any, course: SimulatedRun = DONE
) -> list[str]:
    simulate_policy(policy, lambda _: course, 2, clock)
    return [e["run"] for e in journal.events if e["event"] == "run_finished"]


def test_seeds_go_round_and_a_used_up_budget_leaves_two(tmp_path: Path) -> None:
    space, recipe = load(
        tmp_path, finalists={"count": 2, "seeds": [1, 2, 3, 4]}, sanity_baselines=["zeros"]
    )
    journal, clock = virtual()
    for t in (trial(0, 5.0), trial(1, 4.0)):
        journal.append_event("trial_created", trial=t.number, values=t.values, config=t.config_hash)
        ended = {"state": t.state, "scores": t.scores, "reason": "", "seconds": 1.0}
        journal.append_event("trial_ended", trial=t.number, **ended)
    whole = drive(finals(space, recipe, journal), journal, clock)
    assert [run[-2:] for run in whole[:-1]] == [f"s{s}" for s in (1, 2, 3, 4) for _ in range(3)]
    assert "zeros" in whole[-1]
    assert len(whole) == 13
    cut, clock = virtual()
    for event in journal.events:
        if "trial" in event:
            cut.append_event(**{k: v for k, v in event.items() if k != "time"})
    policy = finals(space, recipe, cut, is_budget_exhausted=lambda: clock.now >= 20)
    left = drive(policy, cut, clock)
    assert [run[-2:] for run in left] == ["s1", "s1", "s1", "s2", "s2", "s2"]
    noted = cut.find_last_event("finals_cut")
    assert noted is not None
    assert noted["runs"] == 7


@pytest.mark.parametrize("course", [DONE, SimulatedRun([], RunEnd("died", seconds=1.0))])
def test_who_listens_is_told_of_each_end_but_not_of_deaths(
    tmp_path: Path, course: SimulatedRun
) -> None:
    space, recipe = load(
        tmp_path,
        sanity_baselines=[],
        parameters={"training.seed": {"role": "noise", "choices": [1, 2]}},
    )
    journal, clock = virtual()
    told: list[str] = []
    drive(
        finals(space, recipe, journal, on_run_end=lambda: told.append(journal.events[-1]["event"])),
        journal,
        clock,
        course,
    )
    assert told == ["run_finished" if course is DONE else "run_failed"] * 2


def test_a_run_that_keeps_dying_fails(tmp_path: Path) -> None:
    space, recipe = load(
        tmp_path,
        sanity_baselines=[],
        parameters={"training.seed": {"role": "noise", "choices": [1, 2]}},
    )
    journal, clock = virtual()
    drive(
        finals(space, recipe, journal),
        journal,
        clock,
        SimulatedRun([], RunEnd("died", seconds=1.0)),
    )
    events = [e["event"] for e in journal.events if e.get("run", "").endswith("s1")]
    assert events.count("run_started") == MAX_DEATHS
    assert (events.count("run_died"), events.count("run_failed")) == (MAX_DEATHS - 1, 1)


@pytest.mark.parametrize(
    ("result", "error", "state"),
    [
        ({"score/bleu": 2.0, "finished": True, "ended": "result"}, False, "finished"),
        ({"token_loss": 1.0, "bleu": 2.0}, False, "pruned"),
        ({"token_loss": float("nan"), "bleu": 2.0}, False, "failed"),
        ({"reason": "diverged", "finished": False, "ended": "result"}, False, "failed"),
        ({"reason": "RecipeError: no", "finished": False, "ended": "failed"}, False, "failed"),
        ({"reason": "killed", "finished": False, "ended": "lost"}, False, "died"),
        ({"score/bleu": 2.0, "finished": True, "ended": "result"}, True, "died"),
        (None, False, "died"),
        ({}, True, "died"),
    ],
)
def test_how_a_trial_ended(result: dict[str, Any] | None, error: bool, state: str) -> None:
    end = parse_run_end(result, error)
    assert end.state == state
    assert end.scores == ({"bleu": 2.0} if state == "finished" else {})
