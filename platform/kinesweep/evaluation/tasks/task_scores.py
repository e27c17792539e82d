"""Scores of the answers to the questions of a side task.

The interval of the accuracy is Wilson's, which has a width even if all answers are right. Answers
about clips of one document are not independent, so it is computed for the number of independent
answers that would have the same variance between documents (the design effect of cluster samples).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from kinesweep.core.errors import InputError
from kinesweep.evaluation.tasks.answers import TaskAnswer

# 97.5 % quantile of the normal distribution, for intervals of 95 %.
_QUANTILE = 1.959963984540054


@dataclass(frozen=True)
class AnswerScores:
    """Scores of one of the possible answers to a question.

    Attributes:
        expected: Number of questions with this right answer.
        given: Number of questions that were answered so.
        precision: Share of right ones among the given answers, 0 to 1; None if there are none.
        recall: Share of the expected answers that were given, 0 to 1; None if there are none.
        f1: Harmonic mean of both; None if neither is known.
    """

    expected: int
    given: int
    precision: float | None
    recall: float | None
    f1: float | None

    @classmethod
    def from_counts(cls, expected: int, given: int, correct: int) -> "AnswerScores":
        """Compute the scores from the numbers of expected, given and correctly given answers."""
        return cls(
            expected,
            given,
            precision=correct / given if given else None,
            recall=correct / expected if expected else None,
            f1=2 * correct / (expected + given) if expected + given else None,
        )


@dataclass(frozen=True)
class TaskScores:
    """The scores of a model in a side task.

    Attributes:
        task: Name of the task.
        accuracy: Share of right answers, in percent. For `which_words`, all words must be right.
        low: Lower end of the 95 % interval of the accuracy.
        high: Upper end of the interval.
        clips: Number of clips that were asked about.
        unparsed: Number of answers that cannot be read; they count as wrong.
        without_words: Number of clips that were not asked about, because the corpus names no words
            of them.
        constant_answer: Best constant answer: `yes`, `no`, or the places of the named words in the
            question.
        constant_accuracy: Accuracy of this answer, in percent.
        answers: Answer → its scores: those of yes and no, or of the words (`named`, `not named`).
    """

    task: str
    accuracy: float
    low: float
    high: float
    clips: int
    unparsed: int
    without_words: int
    constant_answer: str
    constant_accuracy: float
    answers: dict[str, AnswerScores]

    def to_json(self) -> dict[str, Any]:
        """Return the scores as plain values."""
        return asdict(self)


def compute_task_scores(
    task: str,
    answers: Sequence[TaskAnswer],
    documents: Mapping[str, str],
    num_without_words: int = 0,
) -> TaskScores:
    """Compute the scores of the answers in a side task.

    Args:
        task: Name of the task.
        answers: Answers, one for each clip.
        documents: Clip id → document; clips of one document are not independent.
        num_without_words: Number of clips that were not asked about.

    Raises:
        InputError: If there are no answers.
    """
    if not answers:
        raise InputError(
            f"no clip was asked about for the task `{task}`; raise `max_clips` of"
            f" `evaluation.tasks.{task}` or `evaluation.during_training`"
        )
    is_correct = np.array([answer.is_correct for answer in answers], dtype=float)
    low, high = compute_accuracy_interval(
        # A clip without a document stands for itself.
        is_correct,
        [documents.get(answer.clip_id) or answer.clip_id for answer in answers],
    )
    # The bar that a model has to pass: always giving the most common right answer.
    constant_answer, num_constant = Counter(map(_describe_expected, answers)).most_common(1)[0]
    count_answers = _count_words if answers[0].example.choices else _count_yes_no
    return TaskScores(
        task=task,
        accuracy=100 * float(is_correct.mean()),
        low=100 * low,
        high=100 * high,
        clips=len(answers),
        unparsed=sum(answer.parsed is None for answer in answers),
        without_words=num_without_words,
        constant_answer=constant_answer,
        constant_accuracy=100 * num_constant / len(answers),
        answers={
            name: AnswerScores.from_counts(*counts)
            for name, counts in count_answers(answers).items()
        },
    )


def compute_accuracy_interval(
    is_correct: "np.typing.NDArray[np.float64]", groups: Sequence[str]
) -> tuple[float, float]:
    """Compute Wilson's 95 % interval of the share of right answers, 0 to 1.

    Args:
        is_correct: 1 for right and 0 for wrong answers; at least one.
        groups: Document of each answer.
    """
    num_answers, accuracy = len(is_correct), float(is_correct.mean())
    # An effect below 1 is chance in small samples and must not narrow the interval.
    num_effective = num_answers / max(1.0, _compute_design_effect(is_correct, groups))
    squared = _QUANTILE**2
    center = (accuracy + squared / (2 * num_effective)) / (1 + squared / num_effective)
    half_width = (
        _QUANTILE
        * sqrt(accuracy * (1 - accuracy) / num_effective + squared / (4 * num_effective**2))
        / (1 + squared / num_effective)
    )
    # At 0 and 1 an end equals the share itself, except for rounding.
    low, high = min(accuracy, center - half_width), max(accuracy, center + half_width)
    return max(0.0, low), min(1.0, high)


def _compute_design_effect(
    is_correct: "np.typing.NDArray[np.float64]", groups: Sequence[str]
) -> float:
    """Compute by which factor documents raise the variance of the share of right answers.

    It is 1 where it cannot be estimated: with a single document, or without both kinds of answers.
    """
    names, group_indices = np.unique(np.array(groups), return_inverse=True)
    accuracy, num_groups = float(is_correct.mean()), len(names)
    # Both variances would be zero.
    if num_groups < 2 or accuracy in (0.0, 1.0):
        return 1.0
    # Both variances are unbiased, so that clips without documents have an effect of exactly 1.
    independent_variance = accuracy * (1 - accuracy) / (len(is_correct) - 1)
    deviations = np.bincount(group_indices, weights=is_correct - accuracy)
    variance = float((deviations**2).sum()) / len(is_correct) ** 2 * num_groups / (num_groups - 1)
    return variance / independent_variance


def _describe_expected(answer: TaskAnswer) -> str:
    """Return the right answer: yes, no, or the places of the right words in the question."""
    choices, expected = answer.example.choices, answer.example.answer
    if not choices:
        return expected
    right_words = expected.split(", ")
    places = [str(place) for place, word in enumerate(choices, 1) if word in right_words]
    return f"words {' and '.join(places)}" if len(places) > 1 else f"word {places[0]}"


def _count_yes_no(answers: Sequence[TaskAnswer]) -> dict[str, tuple[int, int, int]]:
    """Return answer → how often it is right, was given, and was given where it is right."""
    expected = Counter(answer.example.answer for answer in answers)
    given = Counter(answer.parsed for answer in answers)
    correct = Counter(answer.parsed for answer in answers if answer.is_correct)
    names = sorted({*expected, *(name for name in given if name is not None)})
    return {name: (expected[name], given[name], correct[name]) for name in names}


def _count_words(answers: Sequence[TaskAnswer]) -> dict[str, tuple[int, int, int]]:
    """Return `named` and `not named` → the numbers of words, as in `_count_yes_no`.

    An answer that cannot be read gives no word either value.
    """
    counts = {"named": [0, 0, 0], "not named": [0, 0, 0]}
    for answer in answers:
        right_words = answer.example.answer.split(", ")
        given_words = None if answer.parsed is None else answer.parsed.split(", ")
        for word in answer.example.choices:
            expected_name = "named" if word in right_words else "not named"
            counts[expected_name][0] += 1
            if given_words is None:
                continue
            given_name = "named" if word in given_words else "not named"
            counts[given_name][1] += 1
            counts[given_name][2] += given_name == expected_name
    return {name: (values[0], values[1], values[2]) for name, values in counts.items()}
