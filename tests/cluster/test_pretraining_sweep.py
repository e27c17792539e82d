"""A sweep over pretraining on a real cluster: search, finals over seeds, report, and again."""

import json
from pathlib import Path

import pytest
import yaml

from kinesweep.core.io import read_json
from kinesweep.features.encoders.signhiera_network import load_signhiera
from kinesweep.pipelines.sweeps.sweep import run_sweep_pipeline
from kinesweep.sweeps.journal.journal import read_journal
from kinesweep.sweeps.space.loading import load_space
from pretraining import pretraining_values
from vision import film_corpus

pytestmark = pytest.mark.slow
_SPACE = {
    "question": "Which rate?",
    "recipe": "recipe.yaml",
    "metric": {"name": "masked_loss"},
    "search": {"kind": "random", "trials": 3, "seed": 0},
    "pruner": {"kind": "asha", "grace_period": 1},
    "finalists": {"count": 1, "seeds": [1, 2]},
    "parameters": {"training.learning_rate": {"choices": [1e-5, 1e-3, 1e-2]}},
}


def test_a_sweep_over_pretraining(tmp_path: Path, cluster: None) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=4, validation=3)
    values = pretraining_values(corpus, tmp_path / "stores", batch={"windows": 2})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(_SPACE))
    space, recipe = load_space(tmp_path / "space.yaml", [], tmp_path)
    folder, weights = tmp_path / "sweep", tmp_path / "weights"
    result = run_sweep_pipeline(folder, space, recipe, weights)
    outcome = result.outcome
    assert {ranked.name for ranked in outcome.ranking} == {outcome.winner, "untuned"} or len(
        outcome.ranking
    ) in (1, 2)
    means = [ranked.mean for ranked in outcome.ranking]
    assert means == sorted(means)  # the lowest loss first
    best = outcome.ranking[0]
    for seed, score in best.scores.items():
        run = next(Path(run) for run in outcome.winner_runs if run.endswith(f"-s{seed}"))
        assert score == pytest.approx(read_json(run / "result.json")["scores"]["masked_loss"])
    # The winner's best weights are what is exported, and `signhiera` takes them.
    load_signhiera(weights / "model.safetensors", from_clip=False)
    winner = Path(outcome.winner_runs[0]) / "best" / "model.safetensors"
    assert (weights / "model.safetensors").read_bytes() == winner.read_bytes()
    assert outcome.test == {} and any("no bundle" in note for note in outcome.notes)
    page = result.report.read_text(encoding="utf-8")
    assert "masked_loss" in page and "it was pretrained and writes no text" in page
    # The same call again trains nothing.
    runs = [event for event in read_journal(folder) if event["event"] == "run_started"]
    again = run_sweep_pipeline(folder, space, recipe, weights)
    assert again.outcome.winner == outcome.winner
    events = read_journal(folder)
    assert [event for event in events if event["event"] == "run_started"] == runs
    assert json.dumps(again.as_dict(), default=str)
