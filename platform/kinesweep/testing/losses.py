"""`LossContract`: what every training loss must do.

Shapes: B clips, L target tokens, V vocabulary.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from kinesweep.core.batch import IGNORE
from kinesweep.models.losses.part_loss import PartLoss
from kinesweep.testing.parts import PartContract
from kinesweep.testing.tolerances import assert_same, compute_in_float64


class LossContract(PartContract):
    """Checks of a training loss.

    Attributes:
        config: Section `training.loss`.
    """

    @pytest.fixture(autouse=True)
    def _float64(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Compute in float64, so that bounds hold on every processor."""
        yield from compute_in_float64(monkeypatch)

    def compute(
        self, logits_BLV: Tensor, labels_BL: Tensor, num_items: int | None = None
    ) -> Tensor:
        """Compute the part's own share of the loss of a batch."""
        torch.manual_seed(0)
        loss = PartLoss(self.config.model_copy(update={"share": 1.0}), 0.1)
        result: Tensor = loss(torch.zeros(()), logits_BLV, labels_BL, labels_BL, num_items)
        return result

    def make_batch(self) -> tuple[Tensor, Tensor]:
        """Make logits and aligned labels of four clips of different lengths."""
        torch.manual_seed(1)
        labels_BL = torch.randint(3, 12, (4, 6))
        for row, length in enumerate((6, 3, 5, 1)):
            labels_BL[row, length:] = IGNORE
        return torch.randn(4, 6, 12, requires_grad=True), labels_BL

    def test_it_is_a_finite_number_with_a_gradient(self) -> None:
        """Check that the loss is a scalar that the logits of all scored labels change."""
        logits_BLV, labels_BL = self.make_batch()
        loss = self.compute(logits_BLV, labels_BL)
        assert loss.shape == () and torch.isfinite(loss)
        loss.backward()
        assert logits_BLV.grad is not None and torch.isfinite(logits_BLV.grad).all()
        assert logits_BLV.grad.abs().sum() > 0

    def test_padding_changes_nothing(self) -> None:
        """Check that logits without a label neither count nor get a gradient."""
        logits_BLV, labels_BL = self.make_batch()
        loss = self.compute(logits_BLV, labels_BL)
        changed_BLV = logits_BLV.detach().clone()
        changed_BLV[labels_BL == IGNORE] = 1e3
        assert_same(self.compute(changed_BLV, labels_BL).detach(), loss.detach())
        loss.backward()
        assert logits_BLV.grad is not None
        assert not logits_BLV.grad[labels_BL == IGNORE].any()

    def test_a_step_may_be_split_into_batches(self) -> None:
        """Check that losses of parts of a batch, divided by all labels, add up to its loss."""
        logits_BLV, labels_BL = self.make_batch()
        num_items = int((labels_BL != IGNORE).sum())
        whole = self.compute(logits_BLV, labels_BL, num_items)
        parts = [
            self.compute(logits_BLV[rows], labels_BL[rows], num_items)
            for rows in (slice(0, 1), slice(1, 4))
        ]
        assert_same(sum(parts[1:], start=parts[0]).detach(), whole.detach())
        assert_same(self.compute(logits_BLV, labels_BL).detach(), whole.detach())

    def test_descending_its_gradient_lowers_it(self) -> None:
        """Check that a small step against the gradient improves the loss."""
        logits_BLV, labels_BL = self.make_batch()
        loss = self.compute(logits_BLV, labels_BL)
        loss.backward()
        assert logits_BLV.grad is not None
        # Small, so that the first-order term decides for any differentiable loss.
        moved_BLV = logits_BLV.detach() - 1e-3 * logits_BLV.grad
        assert self.compute(moved_BLV, labels_BL) < loss
