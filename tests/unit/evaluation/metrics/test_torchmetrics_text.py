"""Text metrics of torchmetrics: facts, corpus scores, and statistics of clips."""

from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.functional.text as functional
import torchmetrics.text
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.metrics import TORCHMETRICS_TEXT
from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics import TextMetric, build_metric, compute_extra_scores

TEXTS = {"a": "the sun shines in the north", "b": "rain falls", "c": "", "d": "clouds grow today"}
REFERENCES = {
    "a": ("the sun shines in the south",),
    "b": ("the rain falls", "rain falls now"),
    "c": ("wind",),
    "d": ("clouds grow today",),
}
NO_MODEL = sorted(set(TORCHMETRICS_TEXT) - {"BERTScore", "InfoLM"})
ARGUMENTS = {"ROUGEScore": {"rouge_keys": "rougeL"}}
KEYS = {"ROUGEScore": "rougeL_fmeasure", "SQuAD": "f1"}


def evaluation(name: str, **settings: Any) -> EvaluationConfig:
    metric = {"kind": "torchmetrics", "name": name, "label": "own", **settings}
    return EvaluationConfig.model_validate({"extra_metrics": [metric]})


def built(name: str) -> TextMetric:
    config = evaluation(name, arguments=ARGUMENTS.get(name, {}), key=KEYS.get(name))
    return build_metric("own", config)


def scale_of(name: str) -> float:
    return TORCHMETRICS_TEXT[name].scale


def test_the_facts_are_those_of_the_library() -> None:
    assert set(TORCHMETRICS_TEXT) == set(torchmetrics.text.__all__) - {"Perplexity"}
    functions = {facts.function for facts in TORCHMETRICS_TEXT.values()}
    assert functions == set(functional.__all__) - {"perplexity"}
    for name in set(TORCHMETRICS_TEXT) - {"InfoLM", "WordInfoPreserved"}:
        is_higher_better = getattr(torchmetrics.text, name).higher_is_better
        assert (TORCHMETRICS_TEXT[name].mode == "max") == is_higher_better, name


@pytest.mark.parametrize("name", NO_MODEL)
def test_equal_texts_are_better_by_the_stated_direction(name: str) -> None:
    same = {clip_id: texts[0] for clip_id, texts in REFERENCES.items()}
    gain = built(name)(same, REFERENCES) - built(name)(TEXTS, REFERENCES)
    assert gain > 0 if TORCHMETRICS_TEXT[name].mode == "max" else gain < 0


@pytest.mark.parametrize("name", sorted(set(NO_MODEL) - {"SQuAD"}))
def test_scores_are_those_of_one_call(name: str) -> None:
    """With one reference each, so that no choice among several is made."""
    references = {clip_id: texts[:1] for clip_id, texts in REFERENCES.items()}
    metric = getattr(torchmetrics.text, name)(**ARGUMENTS.get(name, {}))
    takes_all = TORCHMETRICS_TEXT[name].targets == "all"
    targets: list[Any] = [[references[i][0]] if takes_all else references[i][0] for i in TEXTS]
    result = metric(list(TEXTS.values()), targets)
    expected = result["rougeL_fmeasure"] if name == "ROUGEScore" else result
    assert built(name)(TEXTS, references) == pytest.approx(
        scale_of(name) * float(expected), abs=1e-3
    )


@pytest.mark.parametrize("name", NO_MODEL)
def test_statistics_give_the_score_of_any_part(name: str) -> None:
    metric = built(name)
    rows = metric.compute_clip_statistics(TEXTS, REFERENCES)
    part = {i: TEXTS[i] for i in ("a", "d")}
    alone = metric(part, {i: REFERENCES[i] for i in part})
    assert metric.compute_score_from_sum(rows[[0, 3]].sum(0)) == pytest.approx(alone, abs=1e-3)
    whole = metric.compute_score_from_sum(rows.sum(0))
    assert whole == pytest.approx(metric(TEXTS, REFERENCES), abs=1e-3)
    assert np.isfinite(rows).all() and abs(whole - alone) > 1e-4


def test_the_closest_reference_counts_where_one_is_taken() -> None:
    metric = built("WordErrorRate")
    assert metric({"b": "rain falls now"}, {"b": ("something else", "rain falls now")}) == 0
    assert metric({"b": "rain falls"}, {"b": ("x y z", "rain falls now")}) == pytest.approx(100 / 3)


def test_scale_signature_and_names() -> None:
    config = evaluation("char_error_rate", label=None)
    found = compute_extra_scores(TEXTS, REFERENCES, config)
    assert config.metric_modes["char_error_rate"] == "min"
    unscaled = evaluation("torchmetrics.text.CharErrorRate", scale=1)
    cer = build_metric("own", unscaled)(TEXTS, REFERENCES)
    assert found.values == {"char_error_rate": pytest.approx(100 * cer)}
    signature = found.signatures["char_error_rate"]
    assert signature.startswith("protocol:raw|char_error_rate|name:CharErrorRate|scale:100|")
    assert signature.endswith(f"|torchmetrics:{torchmetrics.__version__}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny BERT with its tokenizer."""
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "sun", "shines", "rain", "falls"]
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(words), intermediate_size=32, initializer_range=0.5, **size)
    BertForMaskedLM(config).save_pretrained(folder)
    BertTokenizer(vocab={w: i for i, w in enumerate(words)}).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("name", "arguments", "key"),
    [
        ("BERTScore", {"num_layers": 1}, "f1"),
        ("InfoLM", {"idf": False}, None),
        ("InfoLM", {"idf": True, "information_measure": "l2_distance"}, None),
    ],
)
def test_models_score_the_sentences_of_a_corpus(
    model: str, name: str, arguments: dict[str, Any], key: str | None
) -> None:
    """Several lengths: the library would pair sentences with the references of others."""
    texts = {"a": "the sun shines the sun", "b": "rain", "c": "the rain falls", "d": "sun falls"}
    wanted = {"a": ("the sun falls",), "b": ("rain",), "c": ("sun",), "d": ("the sun shines",)}
    arguments = {"model_name_or_path": model, "max_length": 16, **arguments}
    config = evaluation(name, arguments=arguments, key=key)
    found = compute_extra_scores(texts, wanted, config)
    if name == "InfoLM":
        metric = torchmetrics.text.InfoLM(**arguments, verbose=False)
        assert (config.metric_modes["own"] == "max") == metric.higher_is_better
    scores = found.clip_scores["own"]
    assert len(set(scores.values())) == 4
    best = max(scores.values()) if config.metric_modes["own"] == "max" else min(scores.values())
    assert scores["b"] == best, "equal texts"
    if not arguments.get("idf"):
        alone = {i: compute_extra_scores({i: texts[i]}, {i: wanted[i]}, config) for i in texts}
        expected = {i: one.values["own"] for i, one in alone.items()}
        assert scores == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("ROUGEScore", {"arguments": {"rouge_keys": "rougeL"}}, "set `key` to one of them"),
        ("ROUGEScore", {"arguments": {"rouge_keys": "rougeL"}, "key": "f1"}, "it is f1"),
        ("BLEUScore", {"arguments": {"n_grams": 4}}, "cannot be computed with the arguments"),
        ("BERTScore", {"arguments": {"model_name_or_path": "/nowhere"}}, "BERTScore` cannot be"),
    ],
)
def test_what_cannot_be_computed(name: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        compute_extra_scores(TEXTS, REFERENCES, evaluation(name, **settings))


@pytest.mark.parametrize(
    ("name", "text"),
    [("CharErorRate", "did you mean `CharErrorRate`"), ("perplexity", "reads logits, not texts")],
)
def test_names_that_are_none(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        evaluation(name)
