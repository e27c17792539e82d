"""Fusion: what the encoders give of each stream becomes one input of the language model.

`time` puts streams one after another, with a learnt vector before each where asked for: each keeps
its own rate, and the backbone's attention finds what belongs together; its cost grows with the
square of their sum. `channel` reads all streams at the moments of one of them and projects what
then stands side by side: S streams cost S times fewer vectors, but have to be in step.

Prompt, frames and end are spliced: each row's real vectors move together and the padding goes to
the right, in one gather for the whole batch. A mask that is off by one when prompts differ in
length would train on padding and differ between batches; here a row in a batch equals the row
alone.

Shapes: B clips, S streams, N vectors side by side, M the longest row, E width.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kinesweep.core.recipe.fusion import ChannelFusionConfig, FusionConfig, TimeFusionConfig
from kinesweep.models.resampling import resample

Part = tuple[Tensor, Tensor]
"""Vectors (B, N, E) and which of them are real, bool (B, N)."""

Fit = Callable[[Mapping[str, Tensor], int], Mapping[str, Tensor]]
"""Masks by stream, and how many vectors more the fusion adds to each clip → masks that fit."""

_DEVIATION = 0.02
"""Of a separator that was not begun like the backbone's tokens; what Hugging Face begins with."""


class TimeFusion(nn.Module):
    """Streams one after another. It has weights only where there are separators.

    Args:
        config: whether there are; how often a stream is left out.
        streams: their names, in order.
        out: E.
    """

    def __init__(self, config: TimeFusionConfig, streams: Sequence[str], out: int) -> None:
        super().__init__()
        self.stream_dropout = config.stream_dropout
        self.streams = tuple(streams)
        named = streams if config.separators else ()
        self.separators = nn.ParameterDict(
            {name: nn.Parameter(_DEVIATION * torch.randn(out)) for name in named}
        )

    @property
    def order(self) -> list[tuple[str, bool]]:
        """The stream of each part that is given, and whether it is its separator."""
        kinds = (True, False) if self.separators else (False,)
        return [(name, separates) for name in self.streams for separates in kinds]

    @torch.no_grad()
    def begin_like(self, words_WE: Tensor) -> None:
        """Draws separators from the mean and deviation of the backbone's tokens, (W, E)."""
        words_WE = words_WE.float()
        mean_E, deviation_E = words_WE.mean(dim=0), words_WE.std(dim=0)
        for separator_E in self.separators.values():
            separator_E.copy_(mean_E + deviation_E * torch.randn_like(mean_E))

    def forward(self, frames: Mapping[str, Part], fit: Fit) -> list[Part]:
        """Parts to splice: each stream that is not left out, its separator before it."""
        # Cut before dropout: what is kept of a stream is what generation keeps of it.
        masks = fit({name: mask for name, (_, mask) in frames.items()}, len(self.separators))
        kept_BS = self._kept(masks)
        parts: list[Part] = []
        for place, (name, (x_BNE, _)) in enumerate(frames.items()):
            kept_B1 = kept_BS[:, place, None]
            if name in self.separators:
                separator_BE = self.separators[name].to(x_BNE.dtype).expand(len(x_BNE), -1)
                parts.append((separator_BE[:, None], kept_B1))
            parts.append((x_BNE, masks[name] & kept_B1))
        return parts

    def _kept(self, masks: Mapping[str, Tensor]) -> Tensor:
        return kept_streams(masks, self.stream_dropout if self.training else 0.0)


class ChannelFusion(nn.Module):
    """Streams side by side: brought to one length, joined by channel, E·S → E.

    One matrix over all channels: the sum of one for each stream. A stream that is left out is zero
    and adds nothing; the number of vectors stays, also where it is `length_of`'s.

    Args:
        config: whose length counts, how others are read, how often a stream is left out.
        streams: their names, in order.
        out: E.
    """

    def __init__(self, config: ChannelFusionConfig, streams: Sequence[str], out: int) -> None:
        super().__init__()
        self.stream_dropout = config.stream_dropout
        self.resample = config.resample
        self.length_of = config.length_of or streams[0]
        self.project = nn.Linear(len(streams) * out, out)

    @property
    def order(self) -> list[tuple[str, bool]]:
        """As `TimeFusion.order`."""
        return [(self.length_of, False)]

    def forward(self, frames: Mapping[str, Part], fit: Fit) -> list[Part]:
        """One part; cut when it is whole, so that streams stay in step."""
        masks = {name: mask for name, (_, mask) in frames.items()}
        mask_BN = masks[self.length_of]
        kept_BS = kept_streams(masks, self.stream_dropout if self.training else 0.0)
        same = [
            resample(x_BNE, masks[name], mask_BN, self.resample).masked_fill(
                ~kept_BS[:, place, None, None], 0
            )
            for place, (name, (x_BNE, _)) in enumerate(frames.items())
        ]
        x_BNE = self.project(torch.cat(same, dim=2))
        return [(x_BNE, fit({self.length_of: mask_BN}, 0)[self.length_of])]


FUSIONS: dict[str, Callable[[Any, Sequence[str], int], nn.Module]] = {
    "time": TimeFusion,
    "channel": ChannelFusion,
}


def build_fusion(config: FusionConfig, streams: Sequence[str], out: int) -> nn.Module:
    """What joins the streams, called as `(frames, fit) -> parts`.

    Args:
        config: its recipe part.
        streams: their names, in order.
        out: values a vector, E.
    """
    return FUSIONS[config.kind](config, streams, out)


def kept_streams(masks: Mapping[str, Tensor], dropout: float) -> Tensor:
    """Which streams of which clips stay, bool (B, S); drawn by torch's generator.

    Each is left out with probability `dropout`; where that would leave none, one stays, any with
    equal probability. Without dropout nothing is drawn.
    """
    first_BN = next(iter(masks.values()))
    shape = (len(first_BN), len(masks))
    if not dropout:
        return first_BN.new_ones(shape)
    drawn_BS = torch.rand(shape, device=first_BN.device)
    # The highest stays in any case: where all are below, it is each stream's as often.
    return (drawn_BS >= dropout).scatter(1, drawn_BS.argmax(dim=1, keepdim=True), True)


def splice(parts: Sequence[Part]) -> Part:
    """Joins parts in order, without their padding.

    Args:
        parts: pairs of vectors (B, n, E) and their mask, bool (B, n).

    Returns:
        Vectors (B, M, E), zero where padded, and the mask, bool (B, M), True on the left only.
    """
    x_BNE = torch.cat([x for x, _ in parts], dim=1)
    mask_BN = torch.cat([mask for _, mask in parts], dim=1)
    lengths_B = mask_BN.sum(dim=1)
    longest = int(lengths_B.max())
    # A stable sort of the padding flags keeps the order of what is real.
    order_BM = mask_BN.logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    mask_BM = torch.arange(longest, device=x_BNE.device) < lengths_B[:, None]
    x_BME = x_BNE.gather(1, order_BM[:, :, None].expand(-1, -1, x_BNE.shape[2]))
    return x_BME.masked_fill(~mask_BM[:, :, None], 0), mask_BM
