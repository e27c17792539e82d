"""`EncoderContract`: what every encoder must do.

Shapes: B clips, T frames, D width, E output width.
"""

import pickle
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from kinesweep.config.recipe.model.encoders import TokensEncoderConfig
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.vector_counts import count_vectors
from kinesweep.testing.parts import PartContract
from kinesweep.testing.tolerances import assert_same, compute_in_float64


class EncoderContract(PartContract):
    """Checks of an encoder.

    Attributes:
        config: Section `model.encoder`.
        width: Values per frame of the test's features.
        out: Width of the output.
        skeleton: Skeleton of the features, for an encoder that reads one.
    """

    width: ClassVar[int] = 6
    out: ClassVar[int] = 8
    skeleton: ClassVar[Skeleton | None] = None

    @pytest.fixture(autouse=True)
    def _float64(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Compute in float64, so that bounds hold on every processor."""
        yield from compute_in_float64(monkeypatch)

    @pytest.fixture
    def section(self) -> Any:
        """Return the configuration under test; a suite of many may override it."""
        return self.config

    def build(self, section: Any) -> nn.Module:
        """Build the encoder from a fixed seed."""
        torch.manual_seed(0)
        return build_encoder(section, self.width, self.out, self.skeleton)

    def make_clips(self, section: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Make features, ids of tokens, or vectors of a backbone, whichever the encoder reads."""
        torch.manual_seed(1)
        mask_BT = torch.arange(7) < torch.tensor([7, 4, 6])[:, None]
        if isinstance(section, TokensEncoderConfig):
            if section.embeddings == "own":
                return torch.randint(self.width, (3, 7, 1)), mask_BT
            return torch.randn(3, 7, self.out), mask_BT
        return torch.randn(3, 7, self.width), mask_BT

    def test_output_has_the_width_asked_for_and_a_mask_that_fits(self, section: Any) -> None:
        """Check shape and mask of the output, of which every clip keeps at least one vector.

        An encoder that defines `count_vectors` must count what its mask says.
        """
        encoder, (x_BTD, frame_mask_BT) = self.build(section), self.make_clips(section)
        x_BTE, mask_BT = encoder(x_BTD, frame_mask_BT)
        counts = count_vectors(encoder, frame_mask_BT.sum(dim=1).tolist(), mask_BT)
        assert counts == mask_BT.sum(dim=1).tolist()
        assert x_BTE.shape == (*mask_BT.shape, self.out)
        assert mask_BT.dtype == torch.bool
        assert mask_BT.any(dim=1).all()

    def test_padding_and_neighbours_change_nothing(self, section: Any) -> None:
        """Check that a clip in a batch gets the vectors that it gets alone."""
        encoder = self.build(section).eval()
        x_BTD, mask_BT = self.make_clips(section)
        # Whatever stands in the padding.
        x_BTD[1, 4:] = self.width - 1 if isinstance(section, TokensEncoderConfig) else 1e3
        out_BTE, out_mask_BT = encoder(x_BTD, mask_BT)
        alone_BTE, alone_mask_BT = encoder(x_BTD[1:2, :4], mask_BT[1:2, :4])
        assert_same(out_BTE[1][out_mask_BT[1]], alone_BTE[0][alone_mask_BT[0]])

    def test_equal_seeds_give_equal_weights(self, section: Any) -> None:
        """Check that weights come from torch's generator alone."""
        first, second = self.build(section).state_dict(), self.build(section).state_dict()
        assert all(torch.equal(first[key], second[key]) for key in first)

    def test_it_pickles(self, section: Any) -> None:
        """Check that a pickled encoder computes the same."""
        encoder = self.build(section).eval()
        again = pickle.loads(pickle.dumps(encoder))
        clips = self.make_clips(section)
        assert torch.equal(again(*clips)[0], encoder(*clips)[0])

    def test_every_weight_learns(self, section: Any) -> None:
        """Check that every weight has an effect on the output."""
        encoder = self.build(section)
        for parameter in encoder.parameters():  # layers that begin at zero hide those before them
            if not parameter.any():
                nn.init.normal_(parameter)
        x_BTE, _ = encoder(*self.make_clips(section))
        # Unequal weights: the plain sum of a normalized output is constant, without a gradient.
        (x_BTE * torch.arange(1.0, self.out + 1)).sum().backward()
        gradients = {name: p.grad for name, p in encoder.named_parameters()}
        assert [name for name, grad in gradients.items() if grad is None or not grad.any()] == []

    def test_statistics_are_kept_with_the_weights(self, section: Any) -> None:
        """Check that the statistics of the training split are in the encoder's state."""
        encoder, again = self.build(section).eval(), self.build(section).eval()
        set_statistics: Any = encoder.set_statistics
        set_statistics(torch.arange(self.width).float(), torch.full((self.width,), 2.0))
        again.load_state_dict(encoder.state_dict())
        clips = self.make_clips(section)
        assert torch.equal(encoder(*clips)[0], again(*clips)[0])
