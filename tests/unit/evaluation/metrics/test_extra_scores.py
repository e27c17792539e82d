"""Neural and extra metrics in recipes: names, directions, hashes, paths, and isolation."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus import tiny_recipe
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.errors import ConfigError
from kinesweep.evaluation.metrics.base import isolate_scoring

CER = {"kind": "torchmetrics", "name": "CharErrorRate", "label": "cer"}
OWN = {"kind": "evaluate", "name": "own", "mode": "min", "trust_remote_code": True}


def config(**settings: Any) -> EvaluationConfig:
    return EvaluationConfig.model_validate(settings)


def test_directions_and_what_training_computes() -> None:
    section = config(
        metrics=["bleu", "ter"],
        neural_metrics={"bleurt": "folder"},
        extra_metrics=[CER, {**OWN, "during_training": False}],
    )
    assert section.metric_modes == {
        "bleu": "max",
        "ter": "min",
        "bleurt": "max",
        "cer": "min",
        "own": "min",
    }
    assert section.training_metrics == ("token_loss", "token_accuracy", "bleu", "ter", "cer")
    selected = section.select_training_metrics()
    assert selected.neural_metrics.names == ()
    assert [metric.score_name for metric in selected.extra_metrics] == ["cer"]
    always = section.model_copy(
        update={
            "during_training": section.during_training.model_copy(update={"neural_metrics": True})
        }
    )
    assert always.training_metrics[-2:] == ("bleurt", "cer")
    assert always.select_training_metrics().neural_metrics == section.neural_metrics
    assert [
        section.is_lower_better(name) for name in ("token_loss", "decode_ms", "cer", "bleu")
    ] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("label", ["bleu", "comet", "decode_ms", "token_loss", "samples"])
def test_a_name_that_is_taken(label: str) -> None:
    with pytest.raises(ValueError, match="like another score; give it a `label`"):
        config(extra_metrics=[{**CER, "label": label}])


def test_two_scores_of_one_name() -> None:
    with pytest.raises(ValueError, match="would be called `cer`"):
        config(extra_metrics=[CER, {**OWN, "name": "some/cer"}])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bleurt", "evaluation.during_training.neural_metrics: true"),
        ("own", "`during_training: true` in its entry"),
        ("wer", "is not in `evaluation.metrics`, `evaluation.neural_metrics`,"),
    ],
)
def test_the_best_metric_must_be_known_while_training(
    corpus: Path, tmp_path: Path, name: str, text: str
) -> None:
    section = {
        "neural_metrics": {"bleurt": "x"},
        "extra_metrics": [{**OWN, "during_training": False}],
    }
    with pytest.raises((ConfigError, ValueError), match=text):
        tiny_recipe(corpus, tmp_path, evaluation=section, training={"metric_for_best_model": name})


def test_hashes_without_new_keys_stay_the_same(corpus: Path, tmp_path: Path) -> None:
    plain = tiny_recipe(corpus, tmp_path)
    values = plain.model_dump(mode="json")["evaluation"]
    plain.evaluation.complete_hashed_values(values)
    assert set(values) == {
        "metrics",
        "wordnet",
        "protocol",
        "max_frames",
        "neural_metrics",
        "during_training",
    }
    assert set(values["neural_metrics"]) == {"bertscore", "bleurt"}
    assert set(values["during_training"]) == {"num_beams", "max_clips"}
    extra = tiny_recipe(corpus, tmp_path, evaluation={"extra_metrics": [CER]})
    assert extra.compute_config_hash("x") != plain.compute_config_hash("x")


def test_paths_are_resolved_and_consent_is_not_handed_on(corpus: Path, tmp_path: Path) -> None:
    for name in ("own", "comet"):
        (tmp_path / name).mkdir()
    (tmp_path / "sources.tsv").touch()
    comet = {"model": "comet", "source": "table", "source_table": "sources.tsv"}
    section = {"neural_metrics": {"comet": comet}, "extra_metrics": [OWN]}
    recipe = tiny_recipe(corpus, tmp_path, evaluation=section)
    resolved = recipe.resolve_paths(tmp_path)
    found = resolved.evaluation.neural_metrics.comet
    assert found is not None and found.source_table == str(tmp_path / "sources.tsv")
    assert found.model == str(tmp_path / "comet")
    assert resolved.evaluation.extra_metrics[0].name == str(tmp_path / "own")
    assert resolved.compute_config_hash("x") == recipe.compute_config_hash("x")
    portable = resolved.to_portable().evaluation
    assert portable.neural_metrics == recipe.evaluation.neural_metrics
    assert portable.extra_metrics == (
        recipe.evaluation.extra_metrics[0].model_copy(update={"trust_remote_code": False}),
    )


def test_scoring_leaves_random_numbers_and_autocast_alone() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(1)
    wanted = draw()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16), isolate_scoring("cpu"):
        draw()
        x = torch.ones(2, 2, requires_grad=True)
        assert (x @ x).dtype == torch.float32 and not (x @ x).requires_grad
    assert draw() == wanted
