"""Encoding of the clips that have a stream, in a batch whose other clips lack it.

Only rows with frames reach the encoder, so a clip without the stream changes no batch statistics
and costs nothing. If no clip has the stream, the encoder reads a placeholder of one frame whose
output is masked: its weights then get a gradient of zero, and its collective calls take place, as
on ranks that have the stream.

Shapes: B clips, T frames, D features, N vectors, E width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kinesweep.core.batch import copy_to_device
from kinesweep.models.encoders.batch_norm import BatchNorm

Vectors = tuple[Tensor, Tensor]
"""Vectors (B, N, E) and their mask, bool (B, N)."""
Lengths = Mapping[str, Sequence[int]]
"""Stream → number of frames of each clip, on the host."""
EncodeClips = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Lengths], Vectors]
"""Function (stream → features, stream → mask, stream → lengths) → vectors of one stream."""


def encode_present_clips(
    encode: EncodeClips,
    encoder: nn.Module,
    streams: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    lengths: Lengths,
) -> Vectors:
    """Encode the clips of a batch that have a stream; the others get masked vectors.

    Args:
        encode: Function that encodes the clips.
        encoder: Encoder that it calls.
        streams: Streams that it reads, the encoded one first → features (B, T, D).
        masks: The same streams → mask, bool (B, T).
        lengths: The same streams → number of frames of each clip.

    Returns:
        Vectors (B, N, E) and their mask, bool (B, N), False for clips without the stream.
    """
    own_lengths = next(iter(lengths.values()))
    present = [row for row, length in enumerate(own_lengths) if length]
    num_clips = len(own_lengths)
    if len(present) == num_clips:
        return encode(streams, masks, lengths)
    if not present:
        return _encode_placeholder(encode, encoder, streams, num_clips)
    device = next(iter(masks.values())).device
    rows = copy_to_device(torch.tensor(present), device)
    x_RNE, mask_RN = encode(
        {name: x_BTD[rows] for name, x_BTD in streams.items()},
        {name: mask_BT[rows] for name, mask_BT in masks.items()},
        {name: [values[row] for row in present] for name, values in lengths.items()},
    )
    x_BNE = x_RNE.new_zeros(num_clips, *x_RNE.shape[1:]).index_copy(0, rows, x_RNE)
    mask_BN = mask_RN.new_zeros(num_clips, mask_RN.shape[1]).index_copy(0, rows, mask_RN)
    return x_BNE, mask_BN


def _encode_placeholder(
    encode: EncodeClips, encoder: nn.Module, streams: Mapping[str, Tensor], num_clips: int
) -> Vectors:
    """Encode a clip of one frame of zeros, and return its vectors, masked, for every clip.

    Args:
        encode: Function that encodes clips.
        encoder: Encoder that it calls.
        streams: Stream → features (B, T, D), of which T may be 0.
        num_clips: Number of clips of the batch.
    """
    placeholders = {name: x.new_zeros(1, 1, x.shape[2]) for name, x in streams.items()}
    masks = {
        name: torch.ones(1, 1, dtype=torch.bool, device=x.device)
        for name, x in placeholders.items()
    }
    with _ignore_in_statistics(encoder):
        # Batch norms would otherwise count a frame of zeros that no clip has.
        x_1NE, mask_1N = encode(placeholders, masks, {name: [1] for name in placeholders})
    return (
        x_1NE.expand(num_clips, -1, -1),
        torch.zeros_like(mask_1N).expand(num_clips, -1),
    )


@contextmanager
def _ignore_in_statistics(encoder: nn.Module) -> Iterator[None]:
    """Keep the input of an encoder out of all batch statistics while the context is active."""
    layers = [layer for layer in encoder.modules() if isinstance(layer, BatchNorm)]
    for layer in layers:
        layer.ignores_input = True
    try:
        yield
    finally:
        for layer in layers:
            layer.ignores_input = False
