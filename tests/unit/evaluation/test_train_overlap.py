"""Sentences that occur in train are scored apart from the others."""

import pytest

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.evaluation.predictions import Prediction
from kinesweep.evaluation.train_overlap import TrainOverlapScores, score_by_train_overlap

CONFIG = EvaluationConfig(metrics=("bleu",))
SEEN = {"the man walks his dog", "it rains today again"}


def test_each_clip_is_in_one_part() -> None:
    lines = [
        Prediction("a", "the man walks his dog", ("the man walks his dog",)),
        Prediction("b", "nothing of it", ("a new sentence stands here", "one more")),
        Prediction("c", "it rains today again", ("something else", "it rains today again")),
    ]
    known, new = score_by_train_overlap(lines, SEEN, CONFIG)
    assert (known.what, known.clips) == ("sentences that occur in train", 2)
    assert known.scores == pytest.approx({"bleu": 100})
    assert new == TrainOverlapScores("sentences that do not occur in train", 1, {"bleu": 0.0})


def test_a_part_without_clips_is_left_out() -> None:
    lines = [Prediction("a", "x", ("not seen",))]
    assert [part.what for part in score_by_train_overlap(lines, SEEN, CONFIG)] == [
        "sentences that do not occur in train"
    ]
