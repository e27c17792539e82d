"""What a sweep is worth, on a simulated objective with a known optimum and noise."""

import math
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from kinesweep.config.recipe import Recipe
from kinesweep.core.seeds import create_generator
from kinesweep.sweeps.planning.simulation import SimulatedRun, VirtualClock, simulate_policy
from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest
from kinesweep.sweeps.search.finals import list_final_runs, select_finalists
from kinesweep.sweeps.space.loading import compute_base_values
from kinesweep.sweeps.space.parameter import Values
from kinesweep.sweeps.space.space import SearchSpace
from spaces import LAYERS, RATE, SAMPLES, finals, load, search, virtual

pytestmark = pytest.mark.integration

DROPOUT = "model.backbone.scratch.dropout"
SMOOTHING = "training.label_smoothing_factor"
EVALUATIONS, RUN_S = 9, 90.0
PARAMETERS: dict[str, Any] = {
    RATE: {"log": [1e-5, 1e-1]},
    LAYERS: {"int": [1, 6]},
    DROPOUT: {"float": [0.0, 0.5]},
    SMOOTHING: {"float": [0.0, 0.4]},
}
SEED_SD = 0.5


def truth(values: Values) -> float:
    """BLEU without noise; 30 at the best settings."""
    off = 5 * (math.log10(float(values[RATE])) + 3) ** 2
    off += 60 * (float(values[DROPOUT]) - 0.15) ** 2 + 40 * (float(values[SMOOTHING]) - 0.1) ** 2
    return 30 - off - 0.8 * abs(int(values[LAYERS]) - 3)


def course(request: RunRequest, paces: tuple[float, float] = (0.6, 0.8)) -> SimulatedRun:
    """A run whose loss falls at a rate of its own to a floor that tells of its score.

    The further apart the paces, the less early losses tell.
    """
    values = {name: request.values.get(name, 0.1) for name in (DROPOUT, SMOOTHING)}
    values |= {RATE: request.values[RATE], LAYERS: request.values.get(LAYERS, 3)}
    rng = create_generator(request.seed, repr(sorted(values.items())))
    score = truth(values) + rng.normal(0, SEED_SD)
    pace = rng.uniform(*paces)
    told = []
    for number in range(1, EVALUATIONS + 1):
        loss = 3 - score / 30 + 3 * math.exp(-pace * number) + rng.normal(0, 0.02)
        seconds = RUN_S * number / (EVALUATIONS + 1)
        told.append((seconds, {"step": number, "samples": SAMPLES * number, "token_loss": loss}))
    return SimulatedRun(
        told, RunEnd("finished", {"bleu": score, "token_loss": 3 - score / 30}, "", RUN_S)
    )


def winner(space: SearchSpace, recipe: Recipe, paces: tuple[float, float]) -> tuple[float, float]:
    """A whole sweep. Returns what its winner is truly worth, and seconds of all search runs."""
    journal, clock = virtual()
    run = partial(course, paces=paces)
    spent = simulate_policy(search(space, recipe, journal), run, 4, clock)
    chosen = select_finalists(space, compute_base_values(space, recipe), journal.trials)
    simulate_policy(finals(space, recipe, journal), run, 4, clock)
    found = defaultdict(list)
    for event in journal.events:
        if event["event"] == "run_finished":
            found[event["finalist"]].append(event["scores"]["bleu"])
    ranked = [finalist for finalist in chosen if finalist.ranked]
    best = max(ranked, key=lambda finalist: fmean(found[finalist.name]))
    return truth(best.values), spent.run_seconds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paces", "times"),
    [
        ((0.6, 0.8), 5),
        pytest.param((0.6, 0.8), 20, marks=pytest.mark.proof),
        pytest.param((0.4, 1.0), 20, marks=pytest.mark.proof),
    ],
)
def test_tpe_asha_and_finals_beat_random_search_at_the_same_budget(
    tmp_path: Path, paces: tuple[float, float], times: int
) -> None:
    """Random search spends what theirs took on whole runs; both settle it in equal finals."""
    plan = {"parameters": PARAMETERS, "baseline": False, "sanity_baselines": []}
    final = {"count": 3, "seeds": [101, 102, 103]}
    won = 0
    for seed in range(times):
        space, recipe = load(
            tmp_path,
            search={"kind": "tpe", "trials": 60, "seed": seed},
            pruner={"kind": "asha"},
            finalists=final,
            **plan,
        )
        ours, seconds = winner(space, recipe, paces)
        space, recipe = load(
            tmp_path,
            search={"kind": "random", "trials": math.ceil(seconds / RUN_S), "seed": seed},
            pruner={"kind": "none"},
            finalists=final,
            **plan,
        )
        theirs, at_cost = winner(space, recipe, paces)
        assert at_cost >= seconds
        won += ours > theirs
    print(f"TPE + ASHA + finals win {won} of {times}")
    assert won >= 0.8 * times


@pytest.mark.parametrize("times", [5, pytest.param(20, marks=pytest.mark.proof)])
def test_every_arm_of_an_equal_question_reaches_the_finals(tmp_path: Path, times: int) -> None:
    """Two levels that are worth the same at their optimum."""
    for seed in range(times):
        parameters = {
            SMOOTHING: {"role": "scientific", "choices": [0.05, 0.15]},
            RATE: PARAMETERS[RATE],
            DROPOUT: PARAMETERS[DROPOUT],
        }
        space, recipe = load(
            tmp_path,
            search={"kind": "tpe", "trials": 16, "seed": seed},
            pruner={"kind": "asha", "grace_period": 1, "reduction_factor": 3},
            finalists={"count": 2, "seeds": [101, 102]},
            parameters=parameters,
        )
        journal, clock = virtual()
        simulate_policy(search(space, recipe, journal), course, 4, clock)
        chosen = select_finalists(space, compute_base_values(space, recipe), journal.trials)
        levels = {finalist.values.get(SMOOTHING) for finalist in chosen if finalist.level}
        assert levels == {0.05, 0.15}, seed
        assert len(list_final_runs(chosen, lambda v, s: f"{v}-{s}")) >= 4


def test_the_simulated_truth_has_its_optimum_where_it_should() -> None:
    best = {RATE: 1e-3, LAYERS: 3, DROPOUT: 0.15, SMOOTHING: 0.1}
    assert truth(best) == pytest.approx(30)
    assert VirtualClock().now == 0
