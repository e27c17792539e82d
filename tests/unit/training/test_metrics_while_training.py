"""Neural and extra metrics during training: they choose the checkpoint and change nothing else."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from environments import ROOT
from kinesweep.core.errors import InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store import Store
from kinesweep.training.loop.run import train_run
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult, RunSpec

pytestmark = pytest.mark.integration
SPEC = importlib.util.spec_from_file_location(
    "tiny_bleurt", ROOT / "tests" / "golden" / "bleurt" / "tiny.py"
)
assert SPEC is not None and SPEC.loader is not None
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)


def trained(
    corpus: Path, store: Store, folder: Path, evaluation: dict[str, Any], **training: Any
) -> RunResult:
    recipe = tiny_recipe(corpus, store.folder.parent, evaluation=evaluation, training=training)
    return train_run(RunSpec(recipe, store.folder, folder), NullRunLogger(), lambda _: True)


def test_weights_are_those_of_a_run_without_them(
    corpus: Path, store: Store, whole: RunResult, tmp_path: Path
) -> None:
    evaluation = {
        "neural_metrics": {"bleurt": str(tiny.write(tmp_path / "bleurt", "wide"))},
        "during_training": {"neural_metrics": True},
        "extra_metrics": [{"kind": "torchmetrics", "name": "WordErrorRate"}],
    }
    result = trained(corpus, store, tmp_path / "run", evaluation)
    assert result.weights_sha256 == whole.weights_sha256
    assert {"bleurt", "word_error_rate"} <= set(result.scores) & set(result.search_scores)
    assert {**result.scores, **whole.scores} == result.scores
    assert {"bleurt", "word_error_rate"} <= set(result.signatures)


def test_the_lowest_error_rate_is_the_best(corpus: Path, store: Store, tmp_path: Path) -> None:
    evaluation = {"extra_metrics": [{"kind": "torchmetrics", "name": "EditDistance"}]}
    result = trained(
        corpus, store, tmp_path / "run", evaluation, metric_for_best_model="edit_distance"
    )
    rows = [
        row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "edit_distance" in row
    ]
    distances = {row["step"]: row["edit_distance"] for row in rows}
    assert len(set(distances.values())) > 1
    assert result.best_step == min(distances, key=lambda step: (distances[step], step))


def test_what_cannot_be_scored_is_said_before_training(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    comet = {"neural_metrics": {"comet": {"model": "x", "source": "encoder_prompt"}}}
    script = {"kind": "evaluate", "name": "nothing/here", "mode": "max"}
    for evaluation, text in ((comet, "COMET needs"), ({"extra_metrics": [script]}, "trust_remote")):
        with pytest.raises(InputError, match=text):
            trained(corpus, store, tmp_path / text, evaluation)
        assert not (tmp_path / text / "checkpoints").exists()
