"""CIDEr-D by hand, beside the figures of the COCO caption evaluation code, and resampled."""

import math
import random

import numpy as np
import pytest

from kinesweep.config.recipe.evaluation import EvaluationConfig, ScoringProtocol
from kinesweep.evaluation.evaluate import evaluate_texts
from kinesweep.evaluation.predictions import Prediction
from kinesweep.evaluation.scoring import CorpusMetric, compute_scores
from kinesweep.evaluation.train_overlap import score_by_train_overlap
from kinesweep.store import Store

CIDER = CorpusMetric("cider", ScoringProtocol(tokenize="none"))
Texts = tuple[dict[str, str], dict[str, list[str]]]


def corpus(seed: int, clips: int = 30) -> Texts:
    """Hypotheses, the first of them empty, and one to five references each."""
    rng = random.Random(seed)
    words = [f"w{n}" for n in range(20)]
    wanted = {
        f"c{n:02}": [" ".join(rng.choices(words, k=rng.randint(1, 15))) for _ in range(1 + n % 5)]
        for n in range(clips)
    }
    said = {
        clip: " ".join(w if rng.random() < 0.7 else rng.choice(words) for w in texts[0].split())
        for clip, texts in wanted.items()
    }
    return said | {"c00": ""}, wanted


@pytest.mark.parametrize(
    ("said", "references", "by_hand"),
    [
        # Of two clips `x` stands in both and weighs nothing; `y` and `x y` weigh log 2.
        ("x y", ["x y"], (1 + 1) / 4),
        ("y y", ["x y"], (1 / 2) / 4),
        ("y", ["x y"], 1 / 4 * math.exp(-1 / 72)),
        ("y x", ["x y"], 1 / 4),
        ("x", ["x y"], 0.0),
        ("", ["x y"], 0.0),
        ("unheard of", ["x y"], 0.0),
        ("x y", ["x y", "w"], (1 + 1) / 4 / 2),
        ("x y", ["w", "x y"], (1 + 1) / 4 / 2),
        ("x y", ["w", "y", "x y"], (1 / 4 * math.exp(-1 / 72) + (1 + 1) / 4) / 3),
    ],
)
def test_one_clip_by_hand(said: str, references: list[str], by_hand: float) -> None:
    rows_N2 = CIDER.compute_clip_statistics({"a": said, "b": ""}, {"a": references, "b": ["x z"]})
    assert rows_N2 == pytest.approx(np.array([[10 * by_hand, 1], [0, 1]]))


@pytest.mark.parametrize(
    ("seed", "theirs"),
    [(0, 196.41177695074708), (1, 223.30401197925863), (2, 189.8696805970962)],
)
def test_the_figures_of_the_coco_caption_evaluation(seed: int, theirs: float) -> None:
    """Those of pycocoevalcap 1.2's `Cider().compute_score` on the same texts, times 100."""
    assert CIDER(*corpus(seed)) == pytest.approx(theirs, abs=1e-6)


def test_a_resample_keeps_the_weights_of_the_whole() -> None:
    said, wanted = corpus(4)
    rows_N2, value = CIDER.compute_clip_statistics(said, wanted), CIDER(said, wanted)
    assert CIDER.compute_score_from_sum(rows_N2.sum(0)) == pytest.approx(value)
    assert 0 < value < 1000
    drawn = random.Random(0).choices(range(30), k=30)
    assert CIDER.compute_score_from_sum(rows_N2[drawn].sum(0)) == pytest.approx(
        100 * rows_N2[drawn, 0].mean()
    )


def test_the_scale_and_the_signature() -> None:
    said = {"a": "one two three four", "b": "five six seven eight"}
    found = compute_scores(said, {clip: [text] for clip, text in said.items()}, ["cider"])
    assert found.values["cider"] == pytest.approx(1000)
    start = "protocol:raw|cider|nrefs:1|d:yes|n:4|sigma:6|idf:refs-of-2-clips|tok:13a|version:"
    assert found.signatures["cider"].startswith(start)
    treated = CorpusMetric("cider", ScoringProtocol(case="lower", punctuation="drop"))
    shouted = {clip: f"{text.upper()}!" for clip, text in said.items()}
    wanted = {clip: [text] for clip, text in said.items()}
    assert treated(shouted, wanted) == pytest.approx(1000)
    assert CorpusMetric("cider")(shouted, wanted) == 0


def test_parts_of_a_split_are_weighed_by_the_whole() -> None:
    """Of one clip alone every word would be common, and the score 0."""
    lines = [Prediction("a", "x y", ("x y",)), Prediction("b", "z z", ("u v", "z z"))]
    config = EvaluationConfig(metrics=("cider", "bleu", "ter", "chrf"))
    parts = {part.what: part.scores for part in score_by_train_overlap(lines, {"u v"}, config)}
    assert parts["sentences that occur in train"]["cider"] == pytest.approx(250)
    others = parts["sentences that do not occur in train"]
    assert others == pytest.approx({"cider": 500, "bleu": 100, "ter": 0, "chrf": 100})


def test_texts_of_another_system_are_scored(store: Store) -> None:
    records = store.get_records("validation")
    texts = {record.clip.id: record.clip.texts[0] for record in records}
    found = evaluate_texts(texts, store, "validation", EvaluationConfig(metrics=("cider",)))
    assert f"idf:refs-of-{len(texts)}-clips" in found.signatures["cider"]
    assert found.scores["cider"] > 900
