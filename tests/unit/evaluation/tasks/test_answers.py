"""Answers are read from what a model writes; what cannot be read is wrong and is counted."""

import numpy as np
import pytest
from scipy.stats import binomtest

from kinesweep.config.recipe.prompt import PromptConfig
from kinesweep.core.errors import InputError
from kinesweep.data.tasks.questions import Example
from kinesweep.evaluation.tasks.answers import TaskAnswer, parse_answer
from kinesweep.evaluation.tasks.task_scores import compute_accuracy_interval, compute_task_scores

PROMPT = PromptConfig()
WHICH = Example("rain, Sun", "Which?", choices=("fog", "rain", "Sun", "snow"))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("yes", "yes"),
        (" Yes.", "yes"),
        ("NO", "no"),
        ("yes, it is", "yes"),
        ("no yes", "no"),
        ("not at all", None),
        ("yesterday", None),
        ("", None),
        ("it rains", None),
    ],
)
def test_yes_and_no(text: str, parsed: str | None) -> None:
    assert parse_answer(text, Example("yes", "?"), PROMPT) == parsed


def test_one_answer_may_begin_with_the_other() -> None:
    prompt = PromptConfig(yes="ja", no="ja nicht")
    assert parse_answer("Ja nicht!", Example("ja", "?"), prompt) == "ja nicht"
    assert parse_answer("Ja", Example("ja", "?"), prompt) == "ja"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("rain, Sun", "rain, Sun"),
        ("sun ,rain.", "rain, Sun"),
        ("fog", "fog"),
        ("rain, sun, moon", None),
        ("rain and sun", None),
        ("", None),
    ],
)
def test_lists_of_words(text: str, parsed: str | None) -> None:
    assert parse_answer(text, WHICH, PROMPT) == parsed


def answered(clip: str, expected: str, parsed: str | None) -> TaskAnswer:
    return TaskAnswer(clip, Example(expected, "?"), parsed or "hm", parsed)


def test_scores_of_yes_and_no_by_hand() -> None:
    given = (
        [("yes", "yes")] * 3 + [("yes", "no")] + [("no", "no")] * 2 + [("no", "yes"), ("no", None)]
    )
    answers = [answered(f"c{n}", *pair) for n, pair in enumerate(given)]
    scores = compute_task_scores("word_present", answers, {}, num_without_words=2)
    assert scores.accuracy == 62.5 and scores.clips == 8
    assert scores.unparsed == 1 and scores.without_words == 2
    assert scores.constant_accuracy == 50.0
    yes, no = scores.answers["yes"], scores.answers["no"]
    assert (yes.expected, yes.given, yes.precision, yes.recall, yes.f1) == (4, 4, 0.75, 0.75, 0.75)
    assert (no.expected, no.given) == (4, 3)
    assert no.precision == 2 / 3 and no.recall == 0.5 and no.f1 == 4 / 7
    known = binomtest(5, 8).proportion_ci(method="wilson")
    assert (scores.low, scores.high) == pytest.approx((100 * known.low, 100 * known.high))


def test_scores_of_words_by_hand() -> None:
    other = Example("fog", "Which?", choices=("fog", "rain", "Sun", "snow"))
    answers = [
        TaskAnswer("a", WHICH, "", "rain, Sun"),
        TaskAnswer("b", other, "", "fog, snow"),
        TaskAnswer("c", other, "", None),
    ]
    scores = compute_task_scores("which_words", answers, {})
    assert scores.accuracy == pytest.approx(100 / 3)
    assert (scores.constant_answer, scores.constant_accuracy) == ("word 1", pytest.approx(200 / 3))
    named = scores.answers["named"]
    assert (named.expected, named.given, named.precision, named.recall) == (4, 4, 0.75, 0.75)
    assert scores.answers["not named"].expected == 8 and scores.answers["not named"].given == 4


def test_without_answers_there_is_no_score() -> None:
    with pytest.raises(InputError, match="no clip was asked"):
        compute_task_scores("reversed", [], {})


def test_an_interval_has_a_width_where_all_are_right() -> None:
    low, high = compute_accuracy_interval(np.ones(20), [str(n) for n in range(20)])
    assert high == 1
    assert low == pytest.approx(binomtest(20, 20).proportion_ci(method="wilson").low)


def test_documents_count_as_few_answers() -> None:
    """Copies of one answer tell nothing new; the interval is that of the documents."""
    rng = np.random.default_rng(0)
    per_document = (rng.random(30) < 0.7).astype(float)
    copied = per_document.repeat(10)
    groups = [str(n) for n in range(30) for _ in range(10)]
    low, high = compute_accuracy_interval(copied, groups)
    alone = compute_accuracy_interval(per_document, [str(n) for n in range(30)])
    assert (low, high) == pytest.approx(alone, abs=0.01)
    free = compute_accuracy_interval(copied, [str(n) for n in range(300)])
    assert high - low > 2.5 * (free[1] - free[0])


def test_intervals_cover_the_share_as_often_as_they_say() -> None:
    """Documents of 8 clips whose difficulty differs: 95 % of the intervals, give or take."""
    rng = np.random.default_rng(1)
    groups = [str(n // 8) for n in range(320)]
    covered = 0
    for _ in range(400):
        shares = rng.beta(3, 2, 40).repeat(8)  # their mean is 0.6
        low, high = compute_accuracy_interval((rng.random(320) < shares).astype(float), groups)
        covered += low <= 0.6 <= high
    assert 0.91 < covered / 400 < 0.98
