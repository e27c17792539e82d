"""A tiny sweep that has ended, and reports made up for what it has not."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from kinesweep.pipelines.sweeps.winner import add_test_scores
from kinesweep.report import (
    LearningCurve,
    SubsetScores,
    SweepReport,
    TranslationSample,
    TrialSummary,
)
from kinesweep.sweeps.results.outcome_file import write_sweep_outcome
from kinesweep.sweeps.sweep import Sweep, run_sweep
from once import made_once
from sweeping import RATE, Here, OpenTimed, make_lab

SMOOTHING = "training.label_smoothing_factor"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep with a question, pruned trials, sanity runs and test scores."""
    made = made_once(tmp_path_factory, "finished", _sweep) / "sweep"
    # Reports are written into the folder; runs stay where they were made.
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("finished") / "sweep"))


def _sweep(folder: Path) -> None:
    lab = make_lab(folder, training={"max_steps": 12, "eval_steps": 4})
    space = lab.space(
        search={"kind": "tpe", "trials": 8, "seed": 0},
        pruner={"kind": "asha", "grace_period": 1},
        finalists={"count": 1, "seeds": [1, 2]},
        sanity_baselines=["constant", "nearest", "zeros"],
        parameters={
            RATE: {"log": [1e-4, 1e-1], "rationale": "three decades"},
            SMOOTHING: {"choices": [0.0, 0.1], "role": "scientific"},
        },
    )
    log = OpenTimed(folder / "times")
    sweep = Sweep(space, lab.recipe, lab.stores, folder / "sweep", log, print, Here)
    write_sweep_outcome(sweep.folder, add_test_scores(run_sweep(sweep), lab.store))


def line(name: str, mean: float, tied: bool = False) -> dict[str, Any]:
    """One line of a ranking."""
    scores = {1: mean - 0.5, 2: mean + 0.5}
    errors = {"seed_error": 0.3, "sentence_error": 0.2, "p_value": 0.5, "tied": tied}
    behind = {"gap_to_best": 1.0, "gap_low": -1.0, "gap_high": 3.0}
    around = {"low": mean - 1, "high": mean + 1}
    return {"name": name, "mean": mean, "scores": scores, **around, **behind, **errors}


@pytest.fixture
def made_up() -> Callable[..., SweepReport]:
    """A report of as many trials as wanted, in which some things may be replaced."""

    def make(trials: int = 12, **changes: Any) -> SweepReport:
        distribution = optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)
        plain = optuna.distributions.distribution_to_json(distribution)
        own = [
            TrialSummary(
                n,
                {RATE: 1e-5 * 1.02**n},
                "pruned" if n % 3 == 2 else "finished",
                {} if n % 3 == 2 else {"bleu": 10 + n / 100},
                "",
                9.0,
            )
            for n in range(trials)
        ]
        samples = list(range(12345, 12345 * 201, 12345))
        curves = [
            LearningCurve(
                f"trial {t.number}",
                "search",
                t.state,
                samples,
                {"token_loss": [3 + 1e4 / s for s in samples], "bleu": [s**0.5 for s in samples]},
            )
            for t in own
        ]
        said = [
            TranslationSample(
                f"clip{n}", f"signer{n % 3}", 40 + n, f"sentence {n}", "said", n % 100, n % 2 == 0
            )
            for n in range(60)
        ]
        report = SweepReport(
            sweep="made up",
            question="Which rate?",
            answer="trial 3 is best with bleu 20.0 [19.0, 21.0].",
            metric="bleu",
            objectives={"bleu": "max"},
            winner="trial 3",
            winner_values={RATE: 1e-3},
            ranking=[line("trial 3", 20.0), line("untuned", 19.0, tied=True)],
            levels={},
            means={},
            front=[],
            sanity={"always “yes”": 1.5},
            test={"1": {"bleu": 18.0}},
            notes=["a note"],
            parameters={
                RATE: {"role": "nuisance", "rationale": "", "range": "…", "distribution": plain}
            },
            trials=own,
            curves=curves,
            samples=said,
            parts=[SubsetScores("validation, sentences that occur in train", 30, {"bleu": 21.0})],
            costs={"wall-clock time": "1 h"},
            failures=[],
            repeat={"seeds": "1, 2"},
            space="a: 1",
            recipe="b: 2",
        )
        return replace(report, **changes)

    return make
