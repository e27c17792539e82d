"""Attention maps: the attention of a translator over its input, for each token of a text.

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

from kinesweep.config.recipe.model.backbone import is_causal
from kinesweep.core.batch import IGNORE, Batch
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.models.fusion import MaskedVectors
from kinesweep.models.translator import Translator

PositionKind = Literal["prompt", "separator", "stream", "after", "end", "text"]


@dataclass(frozen=True)
class AttentionSpan:
    """Consecutive attended positions of one kind in the input of one clip.

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
        spans: Spans from the first to the last of the M positions, without gaps.
        joint_weights: Stream → weight of each joint in each frame, (T, V), 0 to 1; only streams
            whose encoder attends to joints.
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

    Returns:
        The attention map of each clip, in the order of the batch.

    Raises:
        InputError: If the language model does not return attention weights, a stream is missing or
            has another width, or a clip and its labels do not fit the backbone's positions.
    """
    with record_fusion_outputs(model.fusion) as fusion_outputs:
        x_BNE, mask_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
    config = model.config.get_model_config()
    labels_BL = batch.labels_BL
    model.position_limit.check_text_length(config.reserved_text_tokens, labels_BL.shape[1])
    weights_BAHLM = get_backbone_ops(config.backbone).compute_attention_weights(
        model.backbone, x_BNE, mask_BN, labels_BL
    )
    attention_maps = []
    for row in range(batch.num_clips):
        spans = _build_spans(model, batch, fusion_outputs[0], row)
        num_inputs = int(mask_BN[row].sum())
        num_labels = int((labels_BL[row] != IGNORE).sum())
        if is_causal(config.backbone):
            first = x_BNE.shape[1] - num_inputs  # the causal backbone moves padding to the left
            end = x_BNE.shape[1] + num_labels - 1
            # The last label is predicted but never read, so it is not an attended position.
            spans.append(AttentionSpan("text", num_inputs, num_inputs + num_labels - 1))
        else:
            first, end = 0, num_inputs
        weights_AHLM = weights_BAHLM[row, :, :, :num_labels, first:end]
        assert spans[-1].end == weights_AHLM.shape[-1], "the spans must cover all positions"
        joint_weights = _compute_joint_weights(model, batch, row)
        attention_maps.append(AttentionMap(weights_AHLM, tuple(spans), joint_weights))
    return attention_maps


@contextmanager
def record_fusion_outputs(fusion: nn.Module) -> Iterator[list[list[MaskedVectors]]]:
    """Record each output of the fusion module while the context is active.

    Yields:
        A list to which each call of the module appends its output.
    """
    outputs: list[list[MaskedVectors]] = []
    # Only the fusion module knows how many vectors of each stream are left after truncation.
    handle = fusion.register_forward_hook(lambda _, __, output: outputs.append(output.parts))
    try:
        yield outputs
    finally:
        handle.remove()


def _build_spans(
    model: Translator, batch: Batch, frame_vectors: list[MaskedVectors], row: int
) -> list[AttentionSpan]:
    """Build the spans of one clip's input: prompt, frames with separators, suffix, end token.

    Args:
        model: Translator that made the input.
        batch: Batch that contains the clip.
        frame_vectors: Output of the fusion module for the batch.
        row: Row of the clip in the batch.
    """
    counts: list[tuple[PositionKind, str, int]] = [
        ("prompt", "", int(batch.prompt_mask_BP[row].sum()))
    ]
    fusion: Any = model.fusion
    for (name, is_separator), (_, mask_BN) in zip(
        fusion.output_origins, frame_vectors, strict=True
    ):
        counts.append(("separator" if is_separator else "stream", name, int(mask_BN[row].sum())))
    counts.append(("after", "", int(batch.suffix_mask_BA[row].sum())))
    counts.append(("end", "", int(model.config.get_model_config().should_append_eos)))
    spans, first = [], 0
    for kind, name, count in counts:
        source_spans: tuple[SourceSpan, ...] = ()
        if kind == "stream":
            num_frames = int(batch.frame_masks[name][row].sum())
            if count and not num_frames:  # channel fusion has the length of another stream
                name = fusion.find_length_stream(
                    [other for other, mask in batch.frame_masks.items() if mask[row].any()]
                )
                num_frames = int(batch.frame_masks[name][row].sum())
            # With few positions, the model truncates streams, which leaves `count` vectors.
            source_spans = tuple(model.get_source_spans(name, num_frames)[:count])
        spans.append(AttentionSpan(kind, first, first + count, name, source_spans))
        first += count
    return spans


def _compute_joint_weights(model: Translator, batch: Batch, row: int) -> dict[str, Tensor]:
    """Compute the joint weights of one clip for the streams whose encoder attends to joints.

    Returns:
        Stream → weight of each joint in each real frame, (T, V).
    """
    joint_weights = {}
    encoders: dict[str, Any] = dict(model.encoders.items())
    for name, encoder in encoders.items():
        # Only STA-GCN has this method.
        if hasattr(encoder, "compute_joint_attention"):
            mask_BT = batch.frame_masks[name][row : row + 1]
            length = int(mask_BT.sum())
            if not length:
                continue  # the clip lacks this stream
            x_BTD = batch.streams[name][row : row + 1, :length]
            joint_weights[name] = encoder.compute_joint_attention(
                x_BTD, mask_BT[:, :length]
            ).point_weights_BTV[0]
    return joint_weights
