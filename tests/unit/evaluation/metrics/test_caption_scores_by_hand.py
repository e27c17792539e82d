"""BLEU-1, BLEU-4, ROUGE-L and CIDEr of ten captions, from counts by hand and from the formulas.

The words are lemmas in lower case without punctuation, so that all packages split them alike.
"""

import math
from collections import Counter
from typing import NamedTuple

import pytest

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.evaluation.metrics import compute_extra_scores


class Pair(NamedTuple):
    """A caption and its references, with what a person counts in them.

    `common` is the length of the longest common subsequence with each reference.
    """

    said: str
    references: tuple[str, ...]
    matches: int
    closest: int
    shortest: int
    common: tuple[int, ...]


PAIRS = [
    Pair(
        "a person walk forward",
        ("a person walk forward", "someone walk forward slowly", "the man walk"),
        *(4, 4, 3, (4, 2, 1)),
    ),
    Pair(
        "a man jump up",
        ("a person jump up and down", "the man jump up twice"),
        *(4, 5, 5, (3, 3)),
    ),
    Pair("person sit", ("a person sit down on a chair", "someone sit"), 2, 2, 2, (2, 1)),
    # `the` stands twice in the second reference, so only two of three count.
    Pair(
        "the the the person",
        ("the person turn left", "person turn the body to the left side"),
        *(3, 4, 4, (2, 2)),
    ),
    Pair(
        "a person kick with the right leg",
        ("a person kick with the right leg twice",),
        *(7, 8, 8, (7,)),
    ),
    Pair("", ("a person wave",), 0, 3, 3, (0,)),
    Pair(
        "someone dance in a circle to the left",
        (
            "a person walk in a circle",
            "someone walk in a circle clockwise",
            "a man move in a circle",
        ),
        *(4, 6, 6, (3, 4, 3)),
    ),
    Pair("run", ("a person run", "run"), 1, 1, 1, (1, 1)),
    Pair(
        "a person stand still and then walk",
        ("the person stand", "a person stand still then walk away"),
        *(6, 7, 3, (2, 6)),
    ),
    Pair("climb a ladder", ("walk up stair",), 0, 3, 3, (0,)),
]
LENGTH, MATCHES, CLOSEST, SHORTEST = 40, 31, 43, 38


def score(package: str, name: str) -> float:
    metric = {"kind": "captions", "package": package, "name": name, "label": "own", "scale": 1}
    config = EvaluationConfig.model_validate({"extra_metrics": [metric]})
    said = {f"{number:02}": pair.said for number, pair in enumerate(PAIRS)}
    wanted = {f"{number:02}": pair.references for number, pair in enumerate(PAIRS)}
    return compute_extra_scores(said, wanted, config).values["own"]


def grams(text: str, n: int) -> Counter[str]:
    words = text.split()
    return Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))


def test_the_counts_by_hand_add_up() -> None:
    assert sum(len(pair.said.split()) for pair in PAIRS) == LENGTH
    assert sum(pair.matches for pair in PAIRS) == MATCHES
    assert sum(pair.closest for pair in PAIRS) == CLOSEST
    assert sum(pair.shortest for pair in PAIRS) == SHORTEST


def test_bleu_1() -> None:
    # The text is shorter than the closest references and longer than the shortest ones.
    assert score("nlg_eval", "bleu1") == pytest.approx(31 / 40 * math.exp(1 - 43 / 40), abs=1e-9)
    assert score("nlg_metricverse", "bleu1") == pytest.approx(31 / 40, abs=1e-9)


def test_bleu_4() -> None:
    logs = []
    for n in range(1, 5):
        matches = total = 0
        for pair in PAIRS:
            for gram, count in grams(pair.said, n).items():
                matches += min(count, max(grams(text, n)[gram] for text in pair.references))
                total += count
        assert n > 1 or (matches, total) == (MATCHES, LENGTH)
        logs.append(math.log(matches / total))
    mean = math.exp(sum(logs) / 4)
    assert 0.3 < mean < 0.7
    assert score("nlg_metricverse", "bleu4") == pytest.approx(mean, abs=1e-9)
    short = mean * math.exp(1 - CLOSEST / LENGTH)
    assert score("nlg_eval", "bleu4") == pytest.approx(short, abs=1e-9)


def test_rouge_l() -> None:
    best, weighted = [], []
    for pair in PAIRS:
        length = len(pair.said.split())
        lengths = [len(text.split()) for text in pair.references]
        shares = [
            (c / length if c else 0, c / r) for c, r in zip(pair.common, lengths, strict=True)
        ]
        best.append(max(2 * p * r / (p + r) if p else 0 for p, r in shares))
        precision, recall = (max(values) for values in zip(*shares, strict=True))
        factor = 1.2**2
        weighted.append(
            (1 + factor) * precision * recall / (recall + factor * precision) if precision else 0
        )
    assert best[:4] == pytest.approx([1, 2 / 3, 1 / 2, 1 / 2])
    assert score("nlg_metricverse", "rouge_l") == pytest.approx(sum(best) / 10, abs=1e-9)
    assert score("nlg_eval", "rouge_l") == pytest.approx(sum(weighted) / 10, abs=1e-9)


@pytest.mark.parametrize("package", ["nlg_eval", "nlg_metricverse", "coco_caption"])
def test_cider(package: str) -> None:
    def weigh(text: str, n: int) -> dict[str, float]:
        found = {}
        for gram, count in grams(text, n).items():
            clips = sum(any(grams(text, n)[gram] for text in pair.references) for pair in PAIRS)
            found[gram] = count * math.log(10 / max(1, clips))
        return found

    total = 0.0
    for pair in PAIRS:
        for text in pair.references:
            # Both packages count bigrams for the difference of lengths.
            lengths = [max(0, len(words.split()) - 1) for words in (pair.said, text)]
            penalty = math.exp(-((lengths[0] - lengths[1]) ** 2) / (2 * 6**2))
            for n in range(1, 5):
                said, wanted = weigh(pair.said, n), weigh(text, n)
                norms = math.hypot(*said.values()) * math.hypot(*wanted.values())
                dot = sum(min(said[g], wanted[g]) * wanted[g] for g in said.keys() & wanted.keys())
                total += 10 * (dot / norms if norms else 0) * penalty / 4 / len(pair.references)
    assert 1 < total / 10 < 10
    assert score(package, "cider") == pytest.approx(total / 10, abs=1e-9)


def test_nlg_eval_splits_at_spaces_only() -> None:
    """TM2T scores words of tokens; a full stop or a capital letter would be another word."""
    config = {"kind": "captions", "package": "nlg_eval", "label": "own", "scale": 1}
    for name, value in (("bleu1", 2 / 3), ("rouge_l", 2 / 3)):
        section = EvaluationConfig.model_validate({"extra_metrics": [{**config, "name": name}]})
        found = compute_extra_scores({"a": "a man walk."}, {"a": ("a man walk",)}, section)
        assert found.values["own"] == pytest.approx(value, abs=1e-6)
