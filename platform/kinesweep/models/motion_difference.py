"""The difference between a clip and its reference motion, on the output of a shared encoder.

Clip and reference motion pass through the encoder as one batch with twice the rows. They share
weights and batch norm statistics, and dropout drops the same values of both, so equal inputs differ
by zero in training as well as in generation. With independent dropout of 0.5 the difference would
be dominated by noise that generation does not have. The price is a second pass through the encoder;
the language model reads no additional vectors. A clip without a reference motion is its own: it
passes once, and the difference is zero.

In modes `concat` and `both`, training starts close to the model without reference motions: the
output is x plus a small contribution of the second input.

Shapes: B clips, T frames, D features, N vectors, E width.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.config.recipe.model.motion_reference import MotionReferenceConfig
from kinesweep.core.errors import InputError
from kinesweep.models.encoders.present_clips import Lengths, encode_present_clips
from kinesweep.models.encoders.vector_counts import count_vectors, knows_vector_counts
from kinesweep.models.fusion import MaskedVectors

# Standard deviation of the initial weights of the second input, r or x - r. At a width of 512 it
# contributes 0.02 * sqrt(512) = 0.45 of its magnitude.
_INITIAL_STD = 0.02


class MotionDifference(nn.Module):
    """Combines the encoder outputs of a clip and of its reference motion.

    Args:
        config: Mode, and names of the streams of clips and of reference motions.
        out: Width E of the encoder's output.
    """

    def __init__(self, config: MotionReferenceConfig, out: int) -> None:
        super().__init__()
        self.config = config
        self.join: nn.Linear | None = None
        if config.mode != "subtract":
            self.join = nn.Linear(2 * out, out)
            # x starts with the identity, the second input with small random weights.
            with torch.no_grad():
                self.join.weight.normal_(std=_INITIAL_STD)[:, :out] = torch.eye(out)
                self.join.bias.zero_()
            # Keep Hugging Face from initializing the layer again.
            self.join._is_hf_initialized = True  # type: ignore[assignment]

    def forward(
        self,
        encoder: nn.Module,
        streams: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        lengths: Lengths,
    ) -> MaskedVectors:
        """Encode clips and reference motions together and combine their vectors.

        Args:
            encoder: Encoder of the stream that is compared.
            streams: Name → features (B, T, D).
            masks: Name → mask, bool (B, T).
            lengths: Name → number of frames of each clip.

        Returns:
            Vectors (B, N, E) that describe how each clip differs from its reference motion, and
            their mask, bool (B, N).

        Raises:
            InputError: If a clip and its reference motion differ in length.
        """
        name, against = self.config.stream, self.config.against
        if against not in streams:
            # A batch without reference motions: one pass, and x is compared with itself.
            x_BNE, mask_BN = _call_encoder(encoder, streams[name], masks[name], lengths[name])
            return self.combine(x_BNE, x_BNE), mask_BN
        check_equal_lengths(self.config, lengths[name], lengths[against])
        with _share_dropout_masks(encoder):
            x_2BNE, mask_2BN = _call_encoder(
                encoder,
                torch.cat([streams[name], streams[against]]),
                torch.cat([masks[name], masks[against]]),
                [*lengths[name], *lengths[against]],
            )
        x_BNE, r_BNE = x_2BNE.chunk(2)
        # Rounding can differ between equal rows of a batch, by 2e-6 in STA-GCN. Copy the clip's
        # vectors so that the difference is exactly zero.
        same_B = (streams[name] == streams[against]).flatten(1).all(dim=1)
        r_BNE = torch.where(same_B[:, None, None], x_BNE, r_BNE)
        return self.combine(x_BNE, r_BNE), mask_2BN.chunk(2)[0]

    def combine(self, x_BNE: Tensor, r_BNE: Tensor) -> Tensor:
        """Combine the vectors of clips and reference motions, position by position, into (B, N, E).

        Args:
            x_BNE: Vectors of the clips.
            r_BNE: Vectors of the reference motions.
        """
        if self.join is None:
            return x_BNE - r_BNE
        second_BNE = r_BNE if self.config.mode == "concat" else x_BNE - r_BNE
        combined_BNE: Tensor = self.join(torch.cat([x_BNE, second_BNE], dim=2))
        return combined_BNE


def encode_streams(
    encoders: nn.ModuleDict,
    motion_difference: MotionDifference | None,
    streams: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    lengths: Lengths,
) -> tuple[dict[str, MaskedVectors], dict[str, list[int]]]:
    """Encode all streams; a stream with reference motions is combined with them.

    An encoder reads only the clips that have its stream.

    Args:
        encoders: Stream → encoder.
        motion_difference: Module that compares one stream with its reference motions; None: no
            stream is compared.
        streams: Name → features (B, T, D).
        masks: Name → mask, bool (B, T).
        lengths: Name → number of frames of each clip.

    Returns:
        Stream → its vectors (B, N, E) and their mask, in the order of the encoders, and stream →
        number of vectors of each clip.

    Raises:
        InputError: If a clip and its reference motion differ in length.
    """
    encoded, counts = {}, {}
    for name, encoder in encoders.items():
        if motion_difference is not None and name == motion_difference.config.stream:
            encode = partial(motion_difference, encoder)
            read = {
                key: streams[key]
                for key in (name, motion_difference.config.against)
                if key in streams
            }
        else:
            encode = partial(_encode_stream, encoder, name)
            read = {name: streams[name]}
        read_masks = {key: masks[key] for key in read}
        read_lengths = {key: lengths[key] for key in read}
        # A model with one stream reads no clip without it.
        if len(encoders) == 1:
            encoded[name] = encode(read, read_masks, read_lengths)
        else:
            encoded[name] = encode_present_clips(encode, encoder, read, read_masks, read_lengths)
        counts[name] = count_vectors(encoder, lengths[name], encoded[name][1])
    return encoded, counts


def _encode_stream(
    encoder: nn.Module,
    name: str,
    streams: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    lengths: Lengths,
) -> MaskedVectors:
    """Encode one stream of a batch.

    Args:
        encoder: Encoder of the stream.
        name: Name of the stream.
        streams: Name → features (B, T, D).
        masks: Name → mask, bool (B, T).
        lengths: Name → number of frames of each clip.
    """
    return _call_encoder(encoder, streams[name], masks[name], lengths[name])


def _call_encoder(
    encoder: nn.Module, x_BTD: Tensor, mask_BT: Tensor, lengths: Sequence[int]
) -> MaskedVectors:
    """Call an encoder, with the lengths of the clips if it reads them.

    Args:
        encoder: Encoder of a stream.
        x_BTD: Features.
        mask_BT: Mask of the frames, bool.
        lengths: Number of frames of each clip.
    """
    vectors: MaskedVectors
    if getattr(encoder, "reads_lengths", False) and knows_vector_counts(encoder):
        vectors = encoder(x_BTD, mask_BT, lengths)
    else:
        vectors = encoder(x_BTD, mask_BT)
    return vectors


def check_equal_lengths(
    config: MotionReferenceConfig, lengths: Sequence[int], reference_lengths: Sequence[int]
) -> None:
    """Check that every clip has as many frames as its reference motion.

    Args:
        config: Names of the two streams, for the message.
        lengths: Number of frames of each clip.
        reference_lengths: Number of frames of each reference motion.

    Raises:
        InputError: If lengths differ; the message names the first such row.
    """
    pairs = list(zip(lengths, reference_lengths, strict=True))
    row = next((row for row, (own, other) in enumerate(pairs) if own != other), None)
    if row is None:
        return
    raise InputError(
        f"row {row} of a batch has {pairs[row][0]} frames of `{config.stream}`, but"
        f" {pairs[row][1]} of `{config.against}`. `model.reference` compares them"
        " frame by"
        " frame, so both need the same number. Align the references when features are extracted."
    )


@contextmanager
def _share_dropout_masks(encoder: nn.Module) -> Iterator[None]:
    """Make dropout drop the same values in both halves of a batch while the context is active."""
    dropout_layers = [layer for layer in encoder.modules() if isinstance(layer, nn.Dropout)]
    handles = [layer.register_forward_hook(_apply_shared_dropout) for layer in dropout_layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _apply_shared_dropout(dropout: Any, inputs: tuple[Tensor], out: Tensor) -> Tensor:
    """Return an output of a dropout layer that has the same mask in both halves of the batch.

    Args:
        dropout: Dropout layer.
        inputs: Positional arguments of the layer: its input.
        out: Output of the layer, returned unchanged if there is nothing to drop.
    """
    x = inputs[0]
    # Below three dimensions the input is a weight matrix, which serves both halves anyway.
    if not dropout.training or not dropout.p or x.dim() < 3:
        return out
    # The halves correspond row by row, also for graph encoders, which pack real frames into
    # (N, V, C): `check_equal_lengths` ensures that both halves have equally many frames.
    mask = functional.dropout(torch.ones_like(x[: len(x) // 2]), dropout.p)
    return x * torch.cat([mask, mask])
