"""Every metric looks at all references of a clip, however many another one has."""

from typing import Any

import pytest

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.evaluation.baselines import find_best_constant_sentence, find_most_frequent_sentence
from kinesweep.evaluation.scoring import CorpusMetric

WORDS = ScoringProtocol(tokenize="none")
SAID = {"a": "the left arm drops too low", "b": "step back", "c": "", "d": "turn the hip in more"}
WANTED = {
    "a": ("raise it", "the left arm drops too low", "too low"),
    "b": ("move your feet", "step back"),
    "c": ("breathe",),
    "d": ("turn in more", "use both", "hands up", "turn the hip in more"),
}
OF_ALL: dict[str, Any] = {
    # Nothing was said of `c`, which has 1 of the 14 words: BLEU's brevity penalty, TER's deletion.
    "bleu": 100 * 2.718281828 ** (1 - 14 / 13),
    "bleu1": 100 * 2.718281828 ** (1 - 14 / 13),
    "bleu2": 100 * 2.718281828 ** (1 - 14 / 13),
    "bleu3": 100 * 2.718281828 ** (1 - 14 / 13),
    "rouge1": 75.0,
    "rouge2": 75.0,
    "rouge": 75.0,
}


@pytest.mark.parametrize("metric", [*OF_ALL, "chrf", "chrfpp", "ter", "meteor", "cider"])
def test_a_hypothesis_that_is_another_reference(metric: str) -> None:
    measure = CorpusMetric(metric, WORDS)
    found = measure(SAID, WANTED)
    turned = {clip: tuple(reversed(texts)) for clip, texts in WANTED.items()}
    assert found == pytest.approx(measure(SAID, turned)), "the order counts for nothing"
    alone = measure(SAID, {clip: texts[:1] for clip, texts in WANTED.items()})
    fewer = measure(SAID, {clip: texts[:2] for clip, texts in WANTED.items()})
    values = [alone, fewer, found]
    assert values == sorted(values, reverse=metric == "ter")
    assert len(set(values)) == 3, "the second and the last one count"
    if metric in OF_ALL:
        assert found == pytest.approx(OF_ALL[metric])


def test_bleu_takes_the_closest_length_and_counts_of_any_reference() -> None:
    said = {"a": "step back and turn"}
    wanted = {"a": ("step back", "and turn now please do it")}
    # All four words are there, in two references; both lengths are 2 away, the shorter counts.
    assert CorpusMetric("bleu1", WORDS)(said, wanted) == pytest.approx(100)
    assert CorpusMetric("bleu1", WORDS)(said, {"a": wanted["a"][:1]}) == pytest.approx(50)


def test_the_most_frequent_sentence_knows_all_texts_of_train() -> None:
    texts = ["b", "a", "c", "b", "c"]
    assert find_most_frequent_sentence(texts) == "b"
    assert find_most_frequent_sentence(reversed(texts)) == "b"


def test_a_constant_sentence_is_scored_by_every_reference() -> None:
    wanted = {"a": ("hands up now please", "step back with it"), "b": ("step back with it",)}
    assert find_best_constant_sentence(["step back with it", "hands up now please"], wanted) == (
        "step back with it",
        pytest.approx(100),
    )
