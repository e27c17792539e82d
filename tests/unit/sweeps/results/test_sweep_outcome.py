"""What a sweep says at its end."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.clip import Clip
from kinesweep.evaluation.predictions import Prediction, write_predictions
from kinesweep.evaluation.scoring import compute_scores
from kinesweep.store.format.index import ClipRecord
from kinesweep.sweeps.results.notes import (
    _format_detectable_difference_note,
    _format_reference_context_note,
)
from kinesweep.sweeps.results.ranking import RankedConfiguration
from kinesweep.sweeps.results.sweep_outcome import _format_conclusion, summarize_sweep
from kinesweep.sweeps.results.translation_scorer import TranslationScorer
from kinesweep.sweeps.search.finals import Finalist
from kinesweep.training.run_records.result import RunResult
from records import memory_store
from spaces import load, virtual


def line(name: str, mean: float, tied: bool = True, **changes: Any) -> RankedConfiguration:
    plain = {"low": mean - 2, "high": mean + 2, "scores": {1: mean - 1, 2: mean + 1}}
    plain |= {"gap_to_best": 1.0, "gap_low": -1.0, "gap_high": 3.0, "p_value": 0.5}
    return RankedConfiguration(
        name, mean, **{**plain, "seed_error": 1.0, "sentence_error": 0.5, **changes}, tied=tied
    )


def test_ties_are_named() -> None:
    said = _format_conclusion(
        [line("trial 3", 20.0), line("trial 1", 19.0), line("untuned", 5.0, False)], {}, "bleu"
    )
    assert said == (
        "trial 3 is best with bleu 20.0 [18.0, 22.0], not significantly better than trial 1;"
        " the untuned recipe scores 5.0."
    )
    assert "ahead of all others" in _format_conclusion(
        [line("a", 20.0), line("b", 3.0, False)], {}, "bleu"
    )


def test_a_single_entry_is_not_ahead_of_others() -> None:
    said = _format_conclusion([line("trial 7", 20)], {}, "bleu")
    assert "ahead" not in said and said.endswith("the only configuration in the ranking.")


def test_a_winner_within_the_noise_of_nothing_has_learnt_nothing() -> None:
    said = _format_conclusion(
        [line("trial 3", 3.0)], {"always “Hello.”": 2.5, "zeros": 0.1}, "bleu"
    )
    assert said.endswith("This is within the noise of always “Hello.”: no evidence of learning.")


def test_what_the_finals_could_see_is_said() -> None:
    lines = [line("a", 20.0), line("b", 19.0)]
    noisy = [line("a", 20.0), line("b", 19.0, scores={1: 10.0, 2: 28.0})]
    (quiet,), (loud,) = (
        _format_detectable_difference_note(lines, "bleu"),
        _format_detectable_difference_note(noisy, "bleu"),
    )
    assert float(quiet.split()[7]) < float(loud.split()[7])
    assert _format_detectable_difference_note(lines[:1], "bleu") == []


def test_scores_on_the_references_context_are_named() -> None:
    plain = RunResult("finished", "max_steps", 1, 1, 1, {}, {}, "0", 1.0, Path("run"))
    hows = {"bleu": "protocol:raw|bleu|nrefs:1", "chrf": ""}
    gold = {metric: f"{how}|context:gold" for metric, how in hows.items()}
    own, flattered = replace(plain, signatures=hows), replace(plain, signatures=gold)
    finalists = [Finalist("trial 1", {}, (1, 2)), Finalist("trial 2", {}, (1, 2))]
    assert _format_reference_context_note(finalists, {"trial 1": [own], "trial 2": [own]}) == []
    (said,) = _format_reference_context_note(finalists, {"trial 1": [own], "trial 2": [flattered]})
    assert said.startswith("Scores of trial 2 are optimistic")


WANTED = {"a": "the old man walks his dog", "b": "a green house is sold twice today"}


def finished(folder: Path, said: dict[str, str]) -> RunResult:
    """A run that said this of validation, without training."""
    lines = [Prediction(clip, said[clip], (text,)) for clip, text in WANTED.items()]
    write_predictions(folder / "predictions/validation.tsv", lines)
    scores = {"bleu": lines_score(lines)}
    return RunResult("finished", "max_steps", 1, 1, 1, scores, scores, "0", 1.0, folder)


def lines_score(lines: list[Prediction]) -> float:
    said = {line.clip_id: line.hypothesis for line in lines}
    return compute_scores(said, {clip: (text,) for clip, text in WANTED.items()}, ["bleu"]).values[
        "bleu"
    ]


def test_the_winners_best_seed_comes_first_and_is_exported(tmp_path: Path) -> None:
    space, _ = load(tmp_path, sanity_baselines=[])
    records = [
        ClipRecord(Clip(name, "validation", "", texts=(text,)), {"pose": 1})
        for name, text in WANTED.items()
    ]
    right, half, wrong = WANTED, {**WANTED, "b": "a green house"}, dict.fromkeys(WANTED, "no")
    seeds = {"trial 0": [half, right, half], "trial 1": [wrong, wrong, wrong]}
    results = {
        name: [finished(tmp_path / f"{name}-s{n}", said) for n, said in enumerate(own, 1)]
        for name, own in seeds.items()
    }
    finalists = [Finalist(name, {}, (1, 2, 3)) for name in seeds]
    journal, _ = virtual()
    scorer = TranslationScorer(space.objectives[0].name, EvaluationConfig(), memory_store(*records))
    outcome = summarize_sweep(space, finalists, results, journal, scorer)
    assert outcome.winner == "trial 0"
    assert [Path(run).name for run in outcome.winner_runs] == [f"trial 0-s{n}" for n in (2, 1, 3)]
    ranked = outcome.ranking[0].scores
    assert ranked == {
        n: pytest.approx(r.scores["bleu"]) for n, r in enumerate(results["trial 0"], 1)
    }
