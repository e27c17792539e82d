"""Any metric can be an objective: a sweep that minimizes one, and what is refused."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from environments import ROOT
from kinesweep.core.errors import ConfigError
from kinesweep.evaluation.predictions import read_clip_scores, read_predictions
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.results.ranking import RankingEntry, rank_configurations
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.sweep import Sweep, run_sweep
from kinesweep.training.run_records.result import read_run_result
from sweeping import RATE, Here, OpenTimed, make_lab

SPEC = importlib.util.spec_from_file_location(
    "tiny_bleurt", ROOT / "tests" / "golden" / "bleurt" / "tiny.py"
)
assert SPEC is not None and SPEC.loader is not None
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)

CER = {"kind": "torchmetrics", "name": "CharErrorRate", "label": "cer"}


def sweep_for(
    folder: Path, evaluation: dict[str, Any], metric: str, **space: Any
) -> tuple[SweepOutcome, Path]:
    """A sweep of two trials and finals on two seeds; the space passes through its file."""
    training = {"max_steps": 4, "eval_steps": 2, "metric_for_best_model": metric}
    lab = make_lab(folder / "lab", training=training, evaluation=evaluation)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(lab.recipe.model_dump(mode="json")))
    plain = {
        "question": "Which rate?",
        "recipe": "recipe.yaml",
        "metric": {"name": metric},
        "search": {"kind": "random", "trials": 2},
        "pruner": {"kind": "none"},
        "finalists": {"count": 1, "seeds": [1, 2]},
        "parameters": {RATE: {"log": [1e-4, 1e-2]}},
        **space,
    }
    (folder / "space.yaml").write_text(yaml.safe_dump(plain))
    loaded, _ = load_space(folder / "space.yaml", [], folder)
    log, home = OpenTimed(folder / "times"), folder / "sweep"
    outcome = run_sweep(
        Sweep(loaded, lab.recipe, lab.stores, home, log, lambda _: None, open_runner=Here)
    )
    return outcome, home


@pytest.mark.integration
def test_a_sweep_that_minimizes_an_error_rate(tmp_path: Path) -> None:
    outcome, home = sweep_for(tmp_path, {"extra_metrics": [CER]}, "cer")
    trials = [trial for trial in Journal(home).trials if trial.state == "finished"]
    best = min(trials, key=lambda trial: trial.scores["cer"])
    assert outcome.metric == "cer"
    tuned = next(ranked for ranked in outcome.ranking if ranked.name != "untuned")
    assert tuned.name == f"trial {best.number}"
    assert outcome.ranking[0].mean <= outcome.ranking[1].mean
    assert outcome.ranking[1].gap_to_best >= 0
    assert tuned.low <= tuned.mean <= tuned.high
    results = [read_run_result(Path(run)) for run in outcome.winner_runs]
    scores = [result.scores["cer"] for result in results if result is not None]
    assert len(scores) == 2 and scores == sorted(scores)
    assert outcome.ranking[0].mean == pytest.approx(np.mean(scores), abs=1e-3)
    for result in results:
        assert result is not None and result.search_scores["cer"] > 0
        assert result.signatures["cer"].startswith("protocol:raw|cer|name:CharErrorRate|")


@pytest.mark.integration
def test_a_sweep_by_bleurt_reads_the_scores_of_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.write(tmp_path / "bleurt", "wide")
    evaluation = {
        "neural_metrics": {"bleurt": str(model)},
        "during_training": {"neural_metrics": True},
    }
    outcome, _ = sweep_for(tmp_path, evaluation, "bleurt", sanity_baselines=[], baseline=False)
    assert outcome.metric == "bleurt"
    run = Path(outcome.winner_runs[0])
    path = run / "predictions" / "validation.tsv"
    clip_scores = read_clip_scores(path, "bleurt")
    assert clip_scores is not None
    assert set(clip_scores) == {row.clip_id for row in read_predictions(path)}
    result = read_run_result(run)
    assert result is not None and "bleurt" in result.search_scores
    assert result.scores["bleurt"] == pytest.approx(np.mean([*clip_scores.values()]))
    assert outcome.ranking[0].scores[1] in (
        pytest.approx(read.scores["bleurt"])
        for read in map(read_run_result, map(Path, outcome.winner_runs))
        if read is not None
    )


@pytest.mark.integration
def test_a_sweep_by_the_accuracy_of_a_side_task(tmp_path: Path) -> None:
    """Its questions are about a part of the clips; translations of other systems answer none."""
    task = {"during_training": True, "max_clips": 4}
    outcome, _ = sweep_for(
        tmp_path, {"tasks": {"word_present": task}}, "word_present_accuracy", baseline=False
    )
    results = [read_run_result(Path(run)) for run in outcome.winner_runs]
    told = [r.tasks["validation"]["word_present"] for r in results if r is not None]
    assert outcome.ranking[0].mean == pytest.approx(np.mean([one["accuracy"] for one in told]))
    assert outcome.sanity == {
        f"always “{told[0]['constant_answer']}”": told[0]["constant_accuracy"]
    }
    assert told[0]["clips"] == 4


def test_lower_is_better_in_a_ranking() -> None:
    rng = np.random.default_rng(0)

    def entry(name: str, mean: float) -> RankingEntry:
        rows = {seed: rng.normal(mean + 0.01 * seed, 0.1, (60, 1)) for seed in (1, 2, 3)}
        return RankingEntry(name, {s: np.hstack([x, np.ones_like(x)]) for s, x in rows.items()})

    entries = [entry("worse", 0.9), entry("better", 0.2)]
    groups = [str(i) for i in range(60)]
    first, second = rank_configurations(
        entries, groups, lambda total_K: float(total_K[0] / total_K[1]), 300, sign=-1
    )
    assert (first.name, second.name) == ("better", "worse")
    assert first.low < first.mean < first.high and first.mean == pytest.approx(0.22, abs=0.03)
    assert second.gap_to_best == pytest.approx(second.mean - first.mean)
    assert 0 < second.gap_low < second.gap_to_best < second.gap_high and not second.tied
    assert all(0 < score < 1 for score in second.scores.values())


@pytest.mark.parametrize(
    ("space", "evaluation", "key", "text"),
    [
        ({"metric": {"name": "cer"}}, {}, "metric.name", "is not in `evaluation.metrics`"),
        (
            {"metric": {"name": "bleurt"}},
            {"neural_metrics": {"bleurt": "x"}},
            "metric.name",
            "evaluation.during_training.neural_metrics: true",
        ),
        (
            {"metric": {"name": "cer", "mode": "max"}},
            {"extra_metrics": [CER]},
            "metric.mode",
            "`cer` requires mode `min`",
        ),
        ({"metric": {"name": "token_loss"}}, {}, "metric.name", "not a score of texts"),
        (
            {"metric": {"name": "reversed_accuracy"}},
            {"tasks": {"reversed": {}}},
            "metric.name",
            "evaluation.tasks.reversed.during_training: true",
        ),
        ({"metric": {"name": "ter", "mode": "min"}}, {}, "metric.name", "is not in"),
        ({"pruner": {"metric": "cer"}}, {}, "pruner.metric", "is not in"),
    ],
)
def test_objectives_that_runs_do_not_compute(
    tmp_path: Path,
    corpus: Path,
    space: dict[str, Any],
    evaluation: dict[str, Any],
    key: str,
    text: str,
) -> None:
    from corpus import tiny_recipe

    recipe = tiny_recipe(corpus, tmp_path, evaluation=evaluation)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    plain = {
        "question": "Which?",
        "recipe": "recipe.yaml",
        "parameters": {RATE: {"log": [1e-4, 1e-2]}},
        **space,
    }
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(ConfigError) as caught:
        load_space(tmp_path / "space.yaml", [], tmp_path)
    assert [(path, text in said) for path, said in caught.value.problems] == [(key, True)]


def test_directions_come_from_the_recipe(tmp_path: Path, corpus: Path) -> None:
    from corpus import tiny_recipe

    recipe = tiny_recipe(corpus, tmp_path, evaluation={"extra_metrics": [CER]})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    plain = {
        "question": "Which?",
        "recipe": "recipe.yaml",
        "metric": {"name": "cer"},
        "pruner": {"metric": "cer"},
        "parameters": {RATE: {"log": [1e-4, 1e-2]}},
    }
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(plain))
    space, _ = load_space(tmp_path / "space.yaml", [], tmp_path)
    assert (space.objectives[0].direction_sign, space.pruner.direction_sign) == (-1, -1)
    alone = SearchSpace.model_validate({**plain, "metric": {"name": "ter"}, "pruner": {}})
    assert (alone.objectives[0].direction_sign, alone.pruner.direction_sign) == (-1, -1)
    bleu = SearchSpace.model_validate({**plain, "metric": {"name": "bleu"}, "pruner": {}})
    assert bleu.objectives[0].direction_sign == 1
