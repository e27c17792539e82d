"""Attention maps: the attention of a translator over its input, for each token of a given text.

The text passes through the model as in training, so the weights are those with which the model
would write each token after the preceding ones. For an encoder-decoder they are the cross-attention
weights; for a causal model, the self-attention weights over prompt, frames and earlier text at the
position that writes the token. Each input vector is labeled: prompt, frames of a stream (the range
of frames it represents, if the encoder downsamples), separator, text after the frames, end token.
Each row sums to 1 over all of them.

The weights refer to the language model's input. If it has an encoder of its own, frames are mixed
before the decoder attends to them, so the weights show where the model looks, never why.

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
from kinesweep.models.fusion import Part
from kinesweep.models.translator import Translator

Kind = Literal["prompt", "separator", "stream", "after", "end", "text"]


@dataclass(frozen=True)
class AttentionSpan:
    """A span of consecutive attended positions of one kind.

    Attributes:
        kind: Kind of the positions; `text` stands for tokens written before.
        first: First of the M positions.
        end: Position after the last one.
        stream: Name of the stream, for frames and separators.
        stands: Source frames of each vector, for frames only.
    """

    kind: Kind
    first: int
    end: int
    stream: str = ""
    stands: tuple[SourceSpan, ...] = ()


@dataclass(frozen=True)
class Attention:
    """The attention weights of one clip's tokens.

    Attributes:
        weights_AHLM: Weights by layer and head; row l belongs to the step that writes token l.
        places: Spans that cover all M positions in order, without gaps.
        joints: Stream → (T, V), weight of each joint in each frame, for encoders that compute it.
    """

    weights_AHLM: Tensor
    places: tuple[AttentionSpan, ...]
    joints: Mapping[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def attention(model: Translator, batch: Batch) -> list[Attention]:
    """Return the attention of each clip's labels; padding is removed.

    Args:
        model: Translator in evaluation mode.
        batch: Clips whose labels are the tokens to explain.

    Raises:
        InputError: If the language model does not return attention weights, or as
            `Translator.forward` raises it.
    """
    with _recorded(model.fusion) as recorded:
        x_BNE, mask_BN = model.build_inputs_embeds(**batch.generation_inputs())
    kind = model.config.recipe_part().backbone.kind
    weights = model.attention_weights(x_BNE, mask_BN, batch.labels_BL)
    found = []
    for row in range(batch.num_clips):
        places = _places(model, batch, recorded[0], row)
        inputs, labels = int(mask_BN[row].sum()), int((batch.labels_BL[row] != IGNORE).sum())
        if kind == "causal":
            first = x_BNE.shape[1] - inputs  # the causal backbone moves padding to the left
            own = weights[row, :, :, :labels, first : x_BNE.shape[1] + labels - 1]
            # The last label is written but never read, so it is not an attended position.
            places.append(AttentionSpan("text", inputs, inputs + labels - 1))
        else:
            own = weights[row, :, :, :labels, :inputs]
        assert places[-1].end == own.shape[-1], "every place is named"
        found.append(Attention(own, tuple(places), _joints(model, batch, row)))
    return found


@contextmanager
def _recorded(fusion: nn.Module) -> Iterator[list[list[Part]]]:
    """Record the output of the fusion module while the context is active."""
    given: list[list[Part]] = []
    # Only the fusion module knows how many vectors of each stream are left after truncation.
    handle = fusion.register_forward_hook(lambda _, __, parts: given.append(parts))
    try:
        yield given
    finally:
        handle.remove()


def _places(model: Translator, batch: Batch, parts: list[Part], row: int) -> list[AttentionSpan]:
    """Return the spans of one row, in the order of `Translator.build_inputs_embeds`."""
    counted: list[tuple[Kind, str, int]] = [("prompt", "", int(batch.prompt_mask_BP[row].sum()))]
    fusion: Any = model.fusion
    for (name, separates), (_, mask_BN) in zip(fusion.order, parts, strict=True):
        counted.append(("separator" if separates else "stream", name, int(mask_BN[row].sum())))
    counted.append(("after", "", int(batch.after_mask_BA[row].sum())))
    counted.append(("end", "", int(model.config.recipe_part().ends_input)))
    found, first = [], 0
    for kind, name, count in counted:
        stands: tuple[SourceSpan, ...] = ()
        if kind == "stream":
            frames = int(batch.frame_masks[name][row].sum())
            # With few positions, the model truncates streams, which leaves `count` vectors.
            encoder: Any = model.encoders[name]
            stands = tuple(encoder.stands_for(frames)[:count])
        found.append(AttentionSpan(kind, first, first + count, name, stands))
        first += count
    return found


def _joints(model: Translator, batch: Batch, row: int) -> dict[str, Tensor]:
    """Return stream → (T, V) for the encoders that attend to joints."""
    found = {}
    encoders: dict[str, Any] = dict(model.encoders.items())
    for name, encoder in encoders.items():
        # Only STA-GCN has this method.
        if hasattr(encoder, "attend"):
            mask_BT = batch.frame_masks[name][row : row + 1]
            length = int(mask_BT.sum())
            x_BTD = batch.streams[name][row : row + 1, :length]
            found[name] = encoder.attend(x_BTD, mask_BT[:, :length]).nodes_BTV[0]
    return found
