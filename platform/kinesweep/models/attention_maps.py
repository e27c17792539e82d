"""Attention maps: the attention of a translator over its input, for each token of a given text.

The text passes through the model as in training, so the weights are those with which the model
would generate each token after the preceding ones. For an encoder-decoder they are the
cross-attention weights; for a causal model, the self-attention weights over prompt, frames and
earlier text at the position that predicts the token. Each input vector is labeled: prompt, frames
of a stream (the range of frames it represents, if the encoder downsamples), separator, text after
the frames, end token. Each row sums to 1 over all of them.

The weights refer to the language model's input. If it has an encoder of its own, frames are mixed
before the decoder attends to them, so the weights show what the model attends to, not why.

Shapes: B clips, A layers, H heads, L tokens, M attended positions, T frames, V joints.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kinesweep.core.batch import IGNORE, Batch
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.models.fusion import MaskedVectors
from kinesweep.models.translator import Translator

PositionKind = Literal["prompt", "separator", "stream", "after", "end", "text"]


@dataclass(frozen=True)
class AttentionSpan:
    """A span of consecutive attended positions of one kind.

    Attributes:
        kind: Kind of the positions; `text` denotes the preceding tokens of the text.
        first: First of the M positions.
        end: Position after the last one.
        stream: Name of the stream, for frames and separators.
        source_spans: Source frames of each vector, for frames only.
    """

    kind: PositionKind
    first: int
    end: int
    stream: str = ""
    source_spans: tuple[SourceSpan, ...] = ()


@dataclass(frozen=True)
class AttentionMap:
    """The attention weights of one clip's tokens over its input.

    Attributes:
        weights_AHLM: Weights by layer and head; row l belongs to the step that predicts token l.
        spans: Spans that cover all M positions in order, without gaps.
        joint_weights: Stream → (T, V), weight of each joint in each frame, for encoders that
            compute it.
    """

    weights_AHLM: Tensor
    spans: tuple[AttentionSpan, ...]
    joint_weights: Mapping[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def compute_attention_maps(model: Translator, batch: Batch) -> list[AttentionMap]:
    """Compute the attention map of each clip's labels, without padding.

    Args:
        model: Translator in evaluation mode.
        batch: Clips whose labels are the tokens to explain.

    Raises:
        InputError: If the language model does not return attention weights, or as
            `Translator.forward` raises it.
    """
    with _record_fusion_outputs(model.fusion) as fusion_outputs:
        x_BNE, mask_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
    kind = model.config.get_model_config().backbone.kind
    weights = model.compute_attention_weights(x_BNE, mask_BN, batch.labels_BL)
    attention_maps = []
    for row in range(batch.num_clips):
        spans = _build_spans(model, batch, fusion_outputs[0], row)
        inputs, labels = int(mask_BN[row].sum()), int((batch.labels_BL[row] != IGNORE).sum())
        if kind == "causal":
            first = x_BNE.shape[1] - inputs  # the causal backbone moves padding to the left
            token_weights_AHLM = weights[row, :, :, :labels, first : x_BNE.shape[1] + labels - 1]
            # The last label is predicted but never read, so it is not an attended position.
            spans.append(AttentionSpan("text", inputs, inputs + labels - 1))
        else:
            token_weights_AHLM = weights[row, :, :, :labels, :inputs]
        assert spans[-1].end == token_weights_AHLM.shape[-1], (
            "the spans must cover all attended positions"
        )
        attention_maps.append(
            AttentionMap(
                token_weights_AHLM, tuple(spans), _compute_joint_weights(model, batch, row)
            )
        )
    return attention_maps


@contextmanager
def _record_fusion_outputs(fusion: nn.Module) -> Iterator[list[list[MaskedVectors]]]:
    """Record the outputs of the fusion module while the context is active."""
    outputs: list[list[MaskedVectors]] = []
    # Only the fusion module knows how many vectors of each stream are left after truncation.
    handle = fusion.register_forward_hook(lambda _, __, parts: outputs.append(parts))
    try:
        yield outputs
    finally:
        handle.remove()


def _build_spans(
    model: Translator, batch: Batch, parts: list[MaskedVectors], row: int
) -> list[AttentionSpan]:
    """Build the spans of one row, in the order of `Translator.build_inputs_embeds`."""
    counts: list[tuple[PositionKind, str, int]] = [
        ("prompt", "", int(batch.prompt_mask_BP[row].sum()))
    ]
    fusion: Any = model.fusion
    for (name, is_separator), (_, mask_BN) in zip(fusion.order, parts, strict=True):
        counts.append(("separator" if is_separator else "stream", name, int(mask_BN[row].sum())))
    counts.append(("after", "", int(batch.suffix_mask_BA[row].sum())))
    counts.append(("end", "", int(model.config.get_model_config().should_append_eos)))
    spans, first = [], 0
    for kind, name, count in counts:
        source_spans: tuple[SourceSpan, ...] = ()
        if kind == "stream":
            frames = int(batch.frame_masks[name][row].sum())
            # With few positions, the model truncates streams, which leaves `count` vectors.
            encoder: Any = model.encoders[name]
            source_spans = tuple(encoder.get_source_spans(frames)[:count])
        spans.append(AttentionSpan(kind, first, first + count, name, source_spans))
        first += count
    return spans


def _compute_joint_weights(model: Translator, batch: Batch, row: int) -> dict[str, Tensor]:
    """Compute stream → joint weights (T, V) of one row, for encoders that attend to joints."""
    joint_weights = {}
    encoders: dict[str, Any] = dict(model.encoders.items())
    for name, encoder in encoders.items():
        # Only STA-GCN has this method.
        if hasattr(encoder, "compute_joint_attention"):
            mask_BT = batch.frame_masks[name][row : row + 1]
            length = int(mask_BT.sum())
            x_BTD = batch.streams[name][row : row + 1, :length]
            joint_weights[name] = encoder.compute_joint_attention(
                x_BTD, mask_BT[:, :length]
            ).nodes_BTV[0]
    return joint_weights
