"""Scores as people read them."""

import pytest

from kinesweep.core.scores import COSTS, format_score, format_scores, order_scores


def test_the_objective_stands_first_and_costs_last() -> None:
    scores = {"decode_ms": 3.84, "parameters": 641196.0, "bleu": 80.681}
    assert format_scores(scores) == "bleu 80.68 · 641 k parameters · 3.8 ms a clip"
    assert format_scores(scores, ["bleu"]) == format_scores(scores)
    by_cost = format_scores(scores, ["decode_ms", "bleu"])
    assert by_cost == "3.8 ms a clip · bleu 80.68 · 641 k parameters"


def test_an_objective_goes_before_bleu() -> None:
    scores = {"token_loss": 1.23456, "token_accuracy": 71.0, "meteor": 30, "bleu": 1, "chrf": 22.5}
    assert order_scores(scores, ["chrf"]) == [
        *("chrf", "bleu", "meteor", "token_loss", "token_accuracy")
    ]
    assert format_scores(scores, ["token_loss"]).startswith("token_loss 1.2346 · bleu 1.00")
    assert format_scores(scores).endswith("token_loss 1.2346 · token_accuracy 71.00 %")


def test_order_does_not_depend_on_the_mapping() -> None:
    """A trial's scores pass through a set on their way from Ray Tune."""
    names = ["bleu", "chrf", *COSTS]
    assert order_scores(dict.fromkeys(reversed(names), 1.0)) == names


def test_an_objective_without_a_score_is_left_out() -> None:
    assert format_scores({"bleu": 2.0}, ["cider", "bleu"]) == "bleu 2.00"
    assert format_scores({}) == ""


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        *((0, "0"), (999, "999"), (1000, "1.00 k"), (9_994, "9.99 k"), (9_996, "10.0 k")),
        *((641_196, "641 k"), (999_600, "1.00 M"), (12_345_678, "12.3 M")),
        *((999_400_000, "999 M"), (999_600_000, "1.00 B"), (7.62e9, "7.62 B"), (1.2e12, "1200 B")),
    ],
)
def test_three_digits_of_a_count(count: float, shown: str) -> None:
    assert format_score("parameters", count) == f"{shown} parameters"


def test_numbers_that_are_none() -> None:
    assert format_scores({"bleu": float("nan"), "cider": float("inf")}) == "bleu nan · cider inf"
    assert format_score("parameters", float("nan")) == "nan parameters"
