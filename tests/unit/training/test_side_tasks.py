"""Side tasks in a run: what was learned is scored, in training and after it, and written down."""

import csv
from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.predictions import read_clip_scores
from kinesweep.store import Store
from kinesweep.training.loop.run import train_run
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult, RunSpec, read_run_result

pytestmark = pytest.mark.integration

LLAMA = {"architecture": "llama", "hidden_size": 32, "intermediate_size": 64}
LLAMA |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 256}
BACKBONES: dict[str, Any] = {
    "seq2seq": {},
    "causal": {"model": {"backbone": {"kind": "causal", "scratch": LLAMA}}},
}
TASKS = {"word_present": {"during_training": True, "max_clips": 5}, "reversed": {}}


def recipe_of(corpus: Path, store: Store, **changes: Any) -> Any:
    plain: dict[str, Any] = {
        "batch": {"batch_size": 8, "tasks": {"word_present": 1, "reversed": 1}},
        "evaluation": {"tasks": TASKS},
    }
    return tiny_recipe(corpus, store.folder.parent, **{**plain, **changes})


def train(recipe: Any, store: Store, folder: Path, **spec: Any) -> RunResult:
    return train_run(RunSpec(recipe, store.folder, folder, **spec), NullRunLogger(), lambda _: True)


@pytest.mark.parametrize("kind", list(BACKBONES))
def test_a_run_scores_its_tasks(corpus: Path, store: Store, tmp_path: Path, kind: str) -> None:
    recipe = recipe_of(corpus, store, **BACKBONES[kind])
    result = train(recipe, store, tmp_path / "run", score_test=True)
    assert {"word_present_accuracy", "reversed_accuracy"} <= set(result.scores)
    assert "word_present_accuracy" in result.search_scores
    assert "reversed_accuracy" not in result.search_scores
    rows = [r for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if "token_loss" in r]
    assert all("word_present_accuracy" in row for row in rows)
    again = read_run_result(tmp_path / "run")
    assert again is not None and again.tasks == result.tasks
    for split, scores in (("validation", result.scores), ("test", result.test or {})):
        for task in TASKS:
            told = result.tasks[split][task]
            assert told["accuracy"] == scores[f"{task}_accuracy"]
            assert told["low"] <= told["accuracy"] <= told["high"]
            path = tmp_path / "run" / "predictions" / f"{split}_{task}.tsv"
            table = list(csv.DictReader(path.open(newline=""), delimiter="\t"))
            assert len(table) == told["clips"]
            right = sum(row["correct"] == "1" for row in table)
            assert told["accuracy"] == pytest.approx(100 * right / len(table))
            assert told["unparsed"] == sum(not row["parsed"] for row in table)
            assert all(
                (row["parsed"] == row["expected"]) == (row["correct"] == "1") for row in table
            )
            clip_scores = read_clip_scores(path.with_name(f"{split}.tsv"), f"{task}_accuracy")
            assert clip_scores == {row["id"]: 100.0 * int(row["correct"]) for row in table}
    assert result.tasks["validation"]["word_present"]["clips"] == 5
    assert result.signatures["reversed_accuracy"].startswith("task:reversed|seed:0|clips:")


def test_scoring_tasks_changes_no_weights(corpus: Path, store: Store, tmp_path: Path) -> None:
    without = recipe_of(corpus, store, evaluation={})
    scored = recipe_of(corpus, store)
    first, second = train(without, store, tmp_path / "a"), train(scored, store, tmp_path / "b")
    assert first.weights_sha256 == second.weights_sha256
    assert {**second.scores, **first.scores} == second.scores


def test_an_accuracy_can_select_the_checkpoint(corpus: Path, store: Store) -> None:
    training = {"metric_for_best_model": "word_present_accuracy"}
    recipe = recipe_of(corpus, store, training=training)
    assert not recipe.evaluation.is_lower_better("word_present_accuracy")
    with pytest.raises(ConfigError, match=r"evaluation.tasks.reversed.during_training: true"):
        recipe_of(corpus, store, training={"metric_for_best_model": "reversed_accuracy"})
    with pytest.raises(ConfigError, match="`which_words_accuracy` is not in"):
        recipe_of(corpus, store, training={"metric_for_best_model": "which_words_accuracy"})


def test_missing_words_are_said_before_training(
    corpus: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinesweep.data.tasks.task_batches.collect_signed_words", lambda _: ["a"])
    with pytest.raises(InputError, match="`word_present` asks about words"):
        train(recipe_of(corpus, store, batch={"batch_size": 8}), store, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_hashes_of_recipes_without_tasks_are_those_of_before(corpus: Path, store: Store) -> None:
    bare = recipe_of(corpus, store, evaluation={})
    assert bare.compute_config_hash("x") == recipe_of(
        corpus, store, evaluation={"tasks": {}}, generation={"num_beams": 2, "max_new_tokens": 12}
    ).compute_config_hash("x")
    assert bare.compute_config_hash("x") != recipe_of(corpus, store).compute_config_hash("x")
