import pytest
import torch

from kinesweep.core.batch import IGNORE
from kinesweep.models.losses.cross_entropy import (
    compute_cross_entropy,
    compute_token_sums,
    shift_labels_right,
)
from tolerances import assert_same


def by_hand(logits_BLV: torch.Tensor, labels_BL: torch.Tensor, smoothing: float) -> list[float]:
    """Loss of every scored label, one at a time, from the definition."""
    losses = []
    for logits_LV, labels_L in zip(logits_BLV, labels_BL, strict=True):
        for logits_V, label in zip(logits_LV, labels_L, strict=True):
            if label != IGNORE:
                log_p_V = logits_V - logits_V.exp().sum().log()
                even = log_p_V.mean()
                losses.append(float(-(1 - smoothing) * log_p_V[label] - smoothing * even))
    return losses


@pytest.fixture(name="logits_BLV")
def scores() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3, 5, dtype=torch.float64)


LABELS_BL = torch.tensor([[4, 0, 2], [1, IGNORE, IGNORE]])


def test_labels_shift_once() -> None:
    given = LABELS_BL.clone()
    assert shift_labels_right(given, 7, 9).tolist() == [[7, 4, 0], [7, 1, 9]]
    assert torch.equal(given, LABELS_BL)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mean_over_scored_labels(logits_BLV: torch.Tensor, smoothing: float) -> None:
    losses = by_hand(logits_BLV, LABELS_BL, smoothing)
    got = compute_cross_entropy(logits_BLV, LABELS_BL, smoothing)
    assert_same(got, sum(losses) / 4)


@pytest.mark.parametrize("num_items", [8, torch.tensor(8)])
def test_sum_over_the_whole_steps_labels(
    logits_BLV: torch.Tensor, num_items: torch.Tensor | int
) -> None:
    expected = sum(by_hand(logits_BLV, LABELS_BL, 0.1)) / 8
    assert_same(compute_cross_entropy(logits_BLV, LABELS_BL, 0.1, num_items), expected)


def test_token_loss_is_unsmoothed(logits_BLV: torch.Tensor) -> None:
    sums = compute_token_sums(logits_BLV, LABELS_BL)
    assert_same(sums.loss, sum(by_hand(logits_BLV, LABELS_BL, 0.0)))
    assert sums.num_tokens == 4


@pytest.mark.parametrize("right", range(5))
def test_right_tokens_are_counted_and_padding_is_not(logits_BLV: torch.Tensor, right: int) -> None:
    """Padding is surest of its token, the four labels are the best or the worst guess."""
    places = [(0, 0), (0, 1), (0, 2), (1, 0)]
    logits_BLV[1, 1:, 0] = 9.0
    for number, (row, column) in enumerate(places):
        logits_BLV[row, column, LABELS_BL[row, column]] = 9.0 if number < right else -9.0
    assert compute_token_sums(logits_BLV, LABELS_BL)[1:] == (right, 4)


def test_half_precision_is_summed_in_full(logits_BLV: torch.Tensor) -> None:
    assert compute_cross_entropy(logits_BLV.bfloat16(), LABELS_BL).dtype == torch.float32


def test_a_batch_without_labels_is_zero_not_nan(logits_BLV: torch.Tensor) -> None:
    assert float(compute_cross_entropy(logits_BLV, torch.full((2, 3), IGNORE))) == 0
