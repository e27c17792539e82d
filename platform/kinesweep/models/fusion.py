"""Fusion: combines the encoder outputs of all streams into one input for the language model.

`time` concatenates streams in time, optionally with a learned separator before each. Every stream
keeps its own rate, and the backbone's attention learns to align them; its cost grows with the
square of the total length. `channel` resamples all streams to the length of one of them,
concatenates their channels and projects them: S streams need S times fewer vectors, but they have
to be synchronous.

Prompt, frames and end are concatenated without padding (`concat_unpadded`): in one gather for the
whole batch, the real vectors of each row move together and padding goes to the right. A mask that
is off by one when prompts differ in length would train on padding and make results depend on the
batch; here a row in a batch equals the row alone.

Shapes: B clips, S streams, N concatenated vectors, M longest row, E width.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.config.recipe.model.fusion import ChannelFusionConfig, FusionConfig, TimeFusionConfig
from kinesweep.core.batch import copy_to_device, read_host_values
from kinesweep.models.resampling import resample_vectors

MaskedVectors = tuple[Tensor, Tensor]
"""Vectors (B, N, E) and their mask, bool (B, N), True for real vectors."""

VectorCounts = Mapping[str, Sequence[int]]
"""Stream → number of vectors of each clip, as numbers of the host."""

TruncateMasks = Callable[
    [Mapping[str, Tensor], VectorCounts, int], tuple[Mapping[str, Tensor], VectorCounts]
]
"""Function (stream → mask, their counts, vectors that fusion adds to each stream of a clip) → masks
and counts after truncation."""


class FusedVectors(NamedTuple):
    """The output of a fusion module.

    Attributes:
        parts: Vectors (B, N, E) and mask of each separator and stream, in the order in which they
            are fused.
        counts: Number of real vectors of each clip in all parts, on the host.
    """

    parts: list[MaskedVectors]
    counts: list[int]


# Standard deviation of separators that are not redrawn by `init_from_embeddings`; the default of
# Hugging Face.
_INITIAL_STD = 0.02


class TimeFusion(nn.Module):
    """Concatenation of streams in time. It has weights only if there are separators.

    Args:
        config: Separators on or off, and stream dropout.
        streams: Names of the streams, in the order in which they are fused.
        out: Width E.
    """

    def __init__(self, config: TimeFusionConfig, streams: Sequence[str], out: int) -> None:
        super().__init__()
        self.stream_dropout = config.stream_dropout
        self.streams = tuple(streams)
        separator_streams = streams if config.separators else ()
        self.separators = nn.ParameterDict(
            {name: nn.Parameter(_INITIAL_STD * torch.randn(out)) for name in separator_streams}
        )

    @property
    def output_origins(self) -> list[tuple[str, bool]]:
        """Return stream, and whether it is a separator, for each item that `forward` returns."""
        kinds = (True, False) if self.separators else (False,)
        return [(name, is_separator) for name in self.streams for is_separator in kinds]

    @torch.no_grad()
    def init_from_embeddings(self, embeddings_WE: Tensor) -> None:
        """Draw new separators from a Gaussian with the statistics of token embeddings.

        Args:
            embeddings_WE: Embeddings of W tokens, whose mean and standard deviation are used.
        """
        # Statistics are taken in float32, also of half-precision embeddings.
        embeddings_WE = embeddings_WE.float()
        mean_E, deviation_E = embeddings_WE.mean(dim=0), embeddings_WE.std(dim=0)
        for separator_E in self.separators.values():
            separator_E.copy_(mean_E + deviation_E * torch.randn_like(mean_E))

    def forward(
        self,
        frames: Mapping[str, MaskedVectors],
        counts: VectorCounts,
        truncate_masks: TruncateMasks,
    ) -> FusedVectors:
        """Truncate the streams, drop some in training, and put separators before them if any.

        Args:
            frames: Stream → its vectors (B, N, E) and their mask.
            counts: Stream → number of vectors of each clip.
            truncate_masks: Function that truncates the masks of all streams.
        """
        num_separators = int(bool(self.separators))
        # Truncate before dropping streams, so that training keeps what generation keeps.
        masks, counts = truncate_masks(
            {name: mask for name, (_, mask) in frames.items()}, counts, num_separators
        )
        kept = draw_kept_streams(counts, self.stream_dropout if self.training else 0.0)
        is_kept_BS = copy_to_device(torch.tensor(kept), next(iter(masks.values())).device)
        parts: list[MaskedVectors] = []
        # Streams are dropped per clip, so a dropped one stays in the list and is masked.
        for index, (name, (x_BNE, _)) in enumerate(frames.items()):
            is_kept_B1 = is_kept_BS[:, index, None]
            if name in self.separators:
                separator_BE = self.separators[name].to(x_BNE.dtype).expand(len(x_BNE), -1)
                parts.append((separator_BE[:, None], is_kept_B1))
            parts.append((x_BNE, masks[name] & is_kept_B1))
        counts_by_clip = zip(*counts.values(), strict=True)
        totals = [
            sum(
                count + num_separators
                for count, is_kept in zip(clip_counts, clip_kept, strict=True)
                if is_kept
            )
            for clip_counts, clip_kept in zip(counts_by_clip, kept, strict=True)
        ]
        return FusedVectors(parts, totals)


class ChannelFusion(nn.Module):
    """Concatenation of streams by channel: resampled to one length, then projected, E·S → E.

    The projection is one matrix over all channels, equal to a sum of one matrix per stream. A
    dropped stream is set to zero and adds nothing; the number of vectors does not change, even if
    the dropped stream is `length_of`.

    Args:
        config: Stream that determines the length, resampling method, and stream dropout.
        streams: Names of the streams, in the order in which they are fused.
        out: Width E.
    """

    def __init__(self, config: ChannelFusionConfig, streams: Sequence[str], out: int) -> None:
        super().__init__()
        self.stream_dropout = config.stream_dropout
        self.resample = config.resample
        self.length_of = config.length_of or streams[0]
        self.streams = tuple(streams)
        self.project = nn.Linear(len(streams) * out, out)

    @property
    def output_origins(self) -> list[tuple[str, bool]]:
        """Return the only item in the form of `TimeFusion.output_origins`."""
        return [(self.length_of, False)]

    def forward(
        self,
        frames: Mapping[str, MaskedVectors],
        counts: VectorCounts,
        truncate_masks: TruncateMasks,
    ) -> FusedVectors:
        """Resample all streams to one length, concatenate their channels, project and truncate.

        Truncation comes last, so that the streams stay synchronous.

        Args:
            frames: Stream → its vectors (B, N, E) and their mask.
            counts: Stream → number of vectors of each clip.
            truncate_masks: Function that truncates the masks of all streams.
        """
        masks = {name: mask for name, (_, mask) in frames.items()}
        mask_BN, length_counts = self._get_length_mask(masks, counts)
        kept = draw_kept_streams(counts, self.stream_dropout if self.training else 0.0)
        is_kept_BS = copy_to_device(torch.tensor(kept), mask_BN.device)
        resampled = [
            resample_vectors(x_BNE, masks[name], mask_BN, self.resample).masked_fill(
                ~is_kept_BS[:, index, None, None], 0
            )
            for index, (name, (x_BNE, _)) in enumerate(frames.items())
        ]
        x_BNE = self.project(torch.cat(resampled, dim=2))
        name = self.length_of
        kept_masks, kept_counts = truncate_masks({name: mask_BN}, {name: length_counts}, 0)
        return FusedVectors([(x_BNE, kept_masks[name])], list(kept_counts[name]))

    def find_length_stream(self, available: Collection[str]) -> str:
        """Return the stream whose length a clip gets: `length_of`, or the first that it has.

        Args:
            available: Streams that the clip has, at least one.
        """
        return next(name for name in (self.length_of, *self.streams) if name in available)

    def _get_length_mask(
        self, masks: Mapping[str, Tensor], counts: VectorCounts
    ) -> tuple[Tensor, list[int]]:
        """Return the mask whose length each clip gets, and its counts; see `find_length_stream`.

        Args:
            masks: Stream → mask, bool (B, N).
            counts: Stream → number of vectors of each clip.
        """
        mask_BN, own_counts = masks[self.length_of], list(counts[self.length_of])
        if len(masks) == 1 or all(own_counts):
            return mask_BN, own_counts
        longest = max(mask.shape[1] for mask in masks.values())
        # Streams that stand in for `length_of` may be longer than it.
        padded = {
            name: functional.pad(mask, (0, longest - mask.shape[1])) for name, mask in masks.items()
        }
        mask_BN = padded[self.length_of]
        for name in self.streams:
            is_absent_B1 = ~mask_BN.any(dim=1, keepdim=True)
            mask_BN = torch.where(is_absent_B1, padded[name], mask_BN)
            own_counts = [own or other for own, other in zip(own_counts, counts[name], strict=True)]
        # Clips without a fallback stream may be the only long ones.
        return mask_BN[:, : max(own_counts)], own_counts


FUSIONS: dict[str, Callable[[Any, Sequence[str], int], nn.Module]] = {
    "time": TimeFusion,
    "channel": ChannelFusion,
}


def build_fusion(config: FusionConfig, streams: Sequence[str], out: int) -> nn.Module:
    """Build the fusion module, called as `(frames, counts, truncate_masks) -> FusedVectors`.

    Args:
        config: The recipe's `model.fusion` section.
        streams: Names of the streams, in the order in which they are fused.
        out: Width E.
    """
    return FUSIONS[config.kind](config, streams, out)


def draw_kept_streams(counts: VectorCounts, dropout: float) -> list[list[bool]]:
    """Draw which streams of each clip are kept, from torch's generator of the host.

    Each stream is dropped with probability `dropout`. If all of a clip's streams would be dropped,
    one is kept, each with equal probability. Streams that a clip lacks are never kept. Without
    dropout no random numbers are drawn.

    Args:
        counts: Stream → number of vectors of each clip.
        dropout: Probability, 0 to 1.

    Returns:
        For each clip, whether each stream is kept.
    """
    is_present = [[count > 0 for count in row] for row in zip(*counts.values(), strict=True)]
    if not dropout:
        return is_present
    is_present_BS = torch.tensor(is_present)
    drawn_BS = torch.rand(is_present_BS.shape)
    # Below every threshold, and never the largest number of a clip.
    drawn_BS = drawn_BS.masked_fill(~is_present_BS, -1)
    # Always keep the stream with the largest number: if all are below the threshold, each stream
    # is the largest equally often, and otherwise it is kept anyway.
    kept_BS = (drawn_BS >= dropout).scatter(1, drawn_BS.argmax(dim=1, keepdim=True), True)
    return read_host_values(kept_BS)


def concat_unpadded(parts: Sequence[MaskedVectors], longest: int) -> MaskedVectors:
    """Concatenate vectors in the given order and move all padding of a row to the right.

    Args:
        parts: Pairs of vectors (B, n, E) and mask, bool (B, n), each with its own n.
        longest: Largest number of real vectors of a row, M.

    Returns:
        Vectors (B, M, E), zero where padded, and the mask, bool (B, M), True on the left only.
    """
    x_BNE = torch.cat([x for x, _ in parts], dim=1)
    mask_BN = torch.cat([mask for _, mask in parts], dim=1)
    lengths_B = mask_BN.sum(dim=1)
    # The position from which each vector is taken. Sorting the flags moves padding to the end; a
    # stable sort keeps the order of real vectors.
    source_BM = mask_BN.logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    mask_BM = torch.arange(longest, device=x_BNE.device) < lengths_B[:, None]
    x_BME = x_BNE.gather(1, source_BM[:, :, None].expand(-1, -1, x_BNE.shape[2]))
    return x_BME.masked_fill(~mask_BM[:, :, None], 0), mask_BM
