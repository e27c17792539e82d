"""Caption metrics equal those of nlg-metricverse and coco-caption on fixed sentences."""

import importlib.util
import json
from pathlib import Path

import pytest

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.evaluation.metrics import build_metric, compute_extra_scores
from kinesweep.evaluation.metrics.captions.tokens import split_treebank

GOLDEN = Path(__file__).parents[3] / "golden" / "captions"
SPEC = importlib.util.spec_from_file_location("caption_texts", GOLDEN / "texts.py")
assert SPEC is not None and SPEC.loader is not None
texts = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(texts)
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


def config(**settings: object) -> EvaluationConfig:
    metric = {"kind": "captions", "label": "own", "scale": 1, **settings}
    return EvaluationConfig.model_validate({"extra_metrics": [metric]})


def scored(**settings: object) -> float:
    found = compute_extra_scores(texts.HYPOTHESES, texts.REFERENCES, config(**settings))
    return found.values["own"]


@pytest.mark.parametrize("package", ["nlg_metricverse", "coco_caption"])
@pytest.mark.parametrize("name", ["bleu1", "bleu2", "bleu3", "bleu4", "cider"])
def test_bleu_and_cider_equal_those_of_the_package(package: str, name: str) -> None:
    """`tests/golden/captions/generate.py` ran the packages."""
    assert scored(package=package, name=name) == pytest.approx(EXPECTED[package][name], abs=1e-9)


def test_rouge_equals_that_of_the_packages() -> None:
    nlg = EXPECTED["nlg_metricverse"]
    assert scored(name="rouge_l") == pytest.approx(nlg["rouge_max"], abs=1e-9)
    assert scored(name="rouge_l", references="mean") == pytest.approx(nlg["rouge_mean"], abs=1e-9)
    coco = scored(name="rouge_l", package="coco_caption")
    assert coco == pytest.approx(EXPECTED["coco_caption"]["rouge_l"], abs=1e-9)
    assert len({nlg["rouge_max"], nlg["rouge_mean"], coco}) == 3


@pytest.mark.parametrize("clip_id", sorted(texts.HYPOTHESES))
def test_words_are_those_of_stanfords_tokenizer(clip_id: str) -> None:
    own = [split_treebank(text) for text in (texts.HYPOTHESES[clip_id], *texts.REFERENCES[clip_id])]
    assert [" ".join(words) for words in own] == EXPECTED["treebank_words"][clip_id]


@pytest.mark.parametrize("package", ["nlg_metricverse", "coco_caption", "nlg_eval"])
@pytest.mark.parametrize("name", ["bleu4", "rouge_l", "cider"])
def test_statistics_of_clips_sum_to_the_score(package: str, name: str) -> None:
    metric = build_metric("own", config(package=package, name=name))
    rows = metric.compute_clip_statistics(texts.HYPOTHESES, texts.REFERENCES)
    whole = metric(texts.HYPOTHESES, texts.REFERENCES)
    assert metric.compute_score_from_sum(rows.sum(0)) == pytest.approx(whole) and whole > 0


@pytest.mark.parametrize("name", ["bleu4", "rouge_l", "cider"])
@pytest.mark.parametrize("package", ["nlg_metricverse", "coco_caption", "nlg_eval"])
def test_texts_without_words(package: str, name: str) -> None:
    section = config(package=package, name=name)
    for said in ({"a": "", "b": "."}, {"a": "", "b": "up"}):
        found = compute_extra_scores(said, {"a": ("the guard",), "b": ("down", "")}, section)
        assert found.values["own"] == pytest.approx(0, abs=1e-3)


def test_names_and_choices() -> None:
    section = EvaluationConfig.model_validate(
        {"extra_metrics": [{"kind": "captions", "name": "bleu4"}]}
    )
    assert section.training_metrics[-1] == "nlg_metricverse_bleu4"
    assert section.metric_modes["nlg_metricverse_bleu4"] == "max"
    with pytest.raises(ValueError, match="has an effect only on `rouge_l`"):
        config(name="cider", references="mean")
