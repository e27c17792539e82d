"""The difference between a clip and its reference, behind the encoder that both pass through.

Clip and reference are one batch of twice the rows: weights and the statistics of batch norm are
shared, and dropout drops the same values of both, so what is equal differs by zero in training as
in generation. Drawn for each alone, dropout of 0.5 would bury the difference under noise that
generation has not. It costs a second pass through the encoder, and no vector more for the language
model. A clip without a reference is its own: it passes once, and the difference is zero.

`concat` and `both` begin as what they would be without a reference, x, with a little of the rest.

Shapes: B clips, T frames, D features, N vectors, E width.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.reference import ReferenceConfig
from kinesweep.models.fusion import Part

_DEVIATION = 0.02
"""Of the weights of r, or x - r, when training begins: 0.45 of its size at a width of 512."""


class Difference(nn.Module):
    """Joins what leaves the encoder of a clip and of its reference.

    Args:
        config: how, and which streams.
        out: E.
    """

    def __init__(self, config: ReferenceConfig, out: int) -> None:
        super().__init__()
        self.config = config
        self.join: nn.Linear | None = None
        if config.mode != "subtract":
            self.join = nn.Linear(2 * out, out)
            with torch.no_grad():
                self.join.weight.normal_(std=_DEVIATION)[:, :out] = torch.eye(out)
                self.join.bias.zero_()
            # Hugging Face would draw them anew.
            self.join._is_hf_initialized = True  # type: ignore[assignment]

    def forward(
        self, encoder: nn.Module, streams: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> Part:
        """Vectors (B, N, E) of the clip that hold how it differs, and their mask.

        Args:
            encoder: of the stream that differs.
            streams: name → (B, T, D).
            masks: name → bool (B, T).

        Raises:
            InputError: a clip and its reference are not equally long.
        """
        name, against = self.config.stream, self.config.against
        if against not in streams:
            x_BNE, mask_BN = encoder(streams[name], masks[name])
            return self.joined(x_BNE, x_BNE), mask_BN
        check_in_step(self.config, masks[name].sum(dim=1), masks[against].sum(dim=1))
        with _dropped_alike(encoder):
            x_2BNE, mask_2BN = encoder(
                torch.cat([streams[name], streams[against]]),
                torch.cat([masks[name], masks[against]]),
            )
        x_BNE, r_BNE = x_2BNE.chunk(2)
        # Equal rows of a batch are rounded otherwise here and there, by 2e-6 in STA-GCN.
        same_B = (streams[name] == streams[against]).flatten(1).all(dim=1)
        r_BNE = torch.where(same_B[:, None, None], x_BNE, r_BNE)
        return self.joined(x_BNE, r_BNE), mask_2BN.chunk(2)[0]

    def joined(self, x_BNE: Tensor, r_BNE: Tensor) -> Tensor:
        """One vector of two, (B, N, E)."""
        if self.join is None:
            return x_BNE - r_BNE
        other_BNE = r_BNE if self.config.mode == "concat" else x_BNE - r_BNE
        joined_BNE: Tensor = self.join(torch.cat([x_BNE, other_BNE], dim=2))
        return joined_BNE


def encode(
    encoders: nn.ModuleDict,
    reference: Difference | None,
    streams: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
) -> dict[str, Part]:
    """Stream → its vectors and their mask, in the encoders' order; training and generation alike.

    Raises:
        InputError: a clip and its reference are not equally long.
    """
    differs = None if reference is None else reference.config.stream
    return {
        name: reference(encoder, streams, masks)
        if reference is not None and name == differs
        else encoder(streams[name], masks[name])
        for name, encoder in encoders.items()
    }


def check_in_step(config: ReferenceConfig, lengths_B: Tensor, against_B: Tensor) -> None:
    """Refuses clips that are longer or shorter than their references.

    Raises:
        InputError: with the first such row.
    """
    if torch.equal(lengths_B, against_B):
        return
    row = int((lengths_B != against_B).nonzero()[0])
    raise InputError(
        f"row {row} of a batch has {int(lengths_B[row])} frames of `{config.stream}`, but"
        f" {int(against_B[row])} of `{config.against}`; `model.reference` needs as many of both,"
        " frame by frame. Align the references when features are made."
    )


@contextmanager
def _dropped_alike(encoder: nn.Module) -> Iterator[None]:
    """Dropout drops the same of the first half of what it is given as of the second."""
    found = [one for one in encoder.modules() if isinstance(one, nn.Dropout)]
    handles = [one.register_forward_hook(_alike) for one in found]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _alike(dropout: Any, given: tuple[Tensor], out: Tensor) -> Tensor:
    """What a dropout layer gives instead: rows of both halves belong together."""
    x = given[0]
    if not dropout.training or not dropout.p or x.dim() < 3:  # a matrix of weights serves both
        return out
    kept = functional.dropout(torch.ones_like(x[: len(x) // 2]), dropout.p)
    return x * torch.cat([kept, kept])
