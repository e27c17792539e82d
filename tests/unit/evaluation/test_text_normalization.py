"""Texts are treated alike on both sides, and the signature says how."""

from typing import get_args

import numpy as np
import pytest

from kinesweep.config.recipe.evaluation import (
    SCORING_PROTOCOLS,
    EvaluationConfig,
    ScoreName,
    ScoringProtocol,
)
from kinesweep.evaluation.baselines import find_best_constant_sentence
from kinesweep.evaluation.scoring import CorpusMetric, compute_scores
from kinesweep.evaluation.text_normalization import format_protocol, normalize_text

PHOENIX, CHAR = SCORING_PROTOCOLS["phoenix"], SCORING_PROTOCOLS["csl_char"]


@pytest.mark.parametrize(
    ("protocol", "text", "wanted"),
    [
        ({}, " Im Süden: Regen . ", " Im Süden: Regen . "),
        ({"case": "lower"}, "Im SÜDEN .", "im süden ."),
        ({"final_period": "drop"}, "Im Süden Regen .", "Im Süden Regen"),
        ({"final_period": "drop"}, "Am 3. Mai.", "Am 3. Mai"),
        ({"final_period": "drop"}, "明天下雨。", "明天下雨"),
        ({"final_period": "drop"}, ".", ""),
        ({"punctuation": "drop"}, "«Regen», 3.5 Grad — bald!", "Regen 3 5 Grad bald"),
    ],
)
def test_what_is_done(protocol: dict[str, str], text: str, wanted: str) -> None:
    assert normalize_text(text, ScoringProtocol.model_validate(protocol)) == wanted


def test_case_and_period_count_in_raw_and_not_in_phoenix() -> None:
    said, wanted = {"a": "der Regen kommt am Abend ."}, {"a": ["Der regen kommt am abend"]}
    assert compute_scores(said, wanted, ["bleu"]).values["bleu"] < 40
    found = compute_scores(said, wanted, ["bleu", "rouge"], PHOENIX)
    assert found.values == pytest.approx({"bleu": 100, "rouge": 100})


def test_chinese_is_scored_by_characters() -> None:
    said, wanted = {"a": "我 明天 去"}, {"a": ["我明天去"]}
    names = ["bleu", "rouge"]
    assert compute_scores(said, wanted, names, CHAR).values == pytest.approx(
        {"bleu": 100, "rouge": 100}
    )
    by_space = ScoringProtocol(tokenize="13a")
    assert compute_scores(said, wanted, names, by_space).values["rouge"] == 0


def test_signatures_name_the_protocol_and_its_tokenizer() -> None:
    said, wanted = {"a": "b c d e"}, {"a": ["b c d e"]}
    own = ScoringProtocol(case="lower", tokenize="intl")
    for protocol, name in ((PHOENIX, "phoenix"), (own, "case=lower,tokenize=intl")):
        signatures = compute_scores(said, wanted, ["bleu", "rouge"], protocol).signatures
        for metric, signature in signatures.items():
            assert signature.startswith(f"protocol:{name}|{metric}|nrefs:1|")
            assert f"tok:{protocol.tokenize}" in signature
    assert format_protocol(ScoringProtocol(tokenize="char")) == "csl_char"


def test_rouge_is_the_mean_of_the_best_f1() -> None:
    said = {"a": "the cat sat", "b": "dogs bark"}
    wanted = {"a": ["the dog sat", "a bird"], "b": ["cats meow"]}
    # a: 2 of 3 words on both sides; of its word pairs none; b: nothing.
    found = compute_scores(said, wanted, ["rouge1", "rouge2", "rouge"]).values
    assert found == pytest.approx({"rouge1": 100 / 3, "rouge2": 0, "rouge": 100 / 3})
    rows_N2 = CorpusMetric("rouge").compute_clip_statistics(said, wanted)
    assert rows_N2 == pytest.approx(np.array([[2 / 3, 1], [0, 1]]))
    assert CorpusMetric("rouge").compute_score_from_sum(rows_N2.sum(0)) == pytest.approx(100 / 3)


def test_rouge_keeps_letters_of_all_languages() -> None:
    said, wanted = {"a": "ök über"}, {"a": ["äk über"]}
    assert compute_scores(said, wanted, ["rouge1"]).values["rouge1"] == pytest.approx(50)


def test_every_name_has_a_metric() -> None:
    said, wanted = {"a": "b c d e f"}, {"a": ["b c d e g"]}
    found = compute_scores(said, wanted, get_args(ScoreName))
    assert set(found.values) == set(get_args(ScoreName))
    assert found.values["bleu1"] > found.values["bleu"] and found.values["ter"] == 20


def test_the_best_constant_sentence_is_found_under_the_protocol() -> None:
    references = {"a": ["Es regnet viel heute."], "b": ["es regnet viel heute"]}
    candidates = ["es regnet viel heute", "ES REGNET VIEL HEUTE .", "nein"]
    _, value = find_best_constant_sentence(candidates, references, PHOENIX)
    assert value == pytest.approx(100)
    assert find_best_constant_sentence(candidates, references)[1] < 100


def test_a_recipe_gives_a_name_or_parts() -> None:
    assert EvaluationConfig().protocol_config == ScoringProtocol()
    assert EvaluationConfig.model_validate({"protocol": "phoenix"}).protocol_config is PHOENIX
    own = EvaluationConfig.model_validate({"protocol": {"case": "lower"}})
    assert own.protocol_config == ScoringProtocol(case="lower")
