"""Grades from the answers of a judge; an answer without a grade is invalid, never zero."""

import math
import re
from collections.abc import Mapping
from typing import Literal

from kinesweep.config.recipe.scores.judges import CriterionConfig
from kinesweep.evaluation.judges.protocol import JudgeChoice

# With sign and fraction, so that `-1` and `3.5` are not taken for 1 and 3.
_NUMBER = re.compile(r"[-−]?\d+(?:[.,]\d+)?")


def read_grade(text: str, criterion: CriterionConfig) -> int | None:
    """Return the grade that an answer states first; None if it is not a grade of the scale."""
    match = _NUMBER.search(text)
    # A grade with sign or fraction is not on the scale, and is not rounded to one that is.
    if match is None or not match[0].isdecimal():
        return None
    grade = int(match[0])
    return grade if criterion.minimum <= grade <= criterion.maximum else None


def grade_choice(
    choice: JudgeChoice, criterion: CriterionConfig, scoring: Literal["answers", "probabilities"]
) -> float | None:
    """Return the grade of one answer; None if it is invalid."""
    if scoring == "probabilities":
        return weight_grades(choice, criterion)
    return read_grade(choice.text, criterion)


def weight_grades(choice: JudgeChoice, criterion: CriterionConfig) -> float | None:
    """Return the mean of the grades, weighted by the probabilities of their tokens (G-Eval).

    The probabilities are those at the first token that is a grade, normalized over all grades among
    its alternatives.

    Returns:
        The weighted mean; None if no token is a grade.
    """
    for token in choice.tokens:
        # Models may begin with a space or a line break; the first grade is the one that they give.
        if _read_token(token.text, criterion) is not None:
            return _average(token.alternatives, criterion)
    return None


def _average(alternatives: Mapping[str, float], criterion: CriterionConfig) -> float:
    """Return the mean grade of the tokens that are grades, weighted by probability."""
    logs = [
        (grade, log_probability)
        for token, log_probability in alternatives.items()
        if (grade := _read_token(token, criterion)) is not None
    ]
    # Servers write -9999 for probabilities that they round to 0; relative to the highest one, at
    # least one mass is 1. `4` and ` 4` are different tokens of the same grade.
    highest = max(log_probability for _, log_probability in logs)
    masses = [(grade, math.exp(log_probability - highest)) for grade, log_probability in logs]
    return sum(grade * mass for grade, mass in masses) / sum(mass for _, mass in masses)


def _read_token(token: str, criterion: CriterionConfig) -> int | None:
    """Return the grade that a token alone is; None for other tokens."""
    stripped = token.strip()
    return read_grade(stripped, criterion) if stripped.isdecimal() else None
