"""Attention of a translator over its input, for each token of a given text: what it looked at.

The text passes through the model as in training, so the weights are those with which each token
would be written after the ones before it. An encoder-decoder shows its cross-attention, a causal
model the part of its attention that the writing place pays to prompt, frames and earlier text. Each
vector of the input is named: prompt, frames of a stream (those that it stands for, where an encoder
strides), separators, what follows, the end. Rows sum to 1 over all of that.

Weights are of the input of the language model. Its own encoder, where it has one, has mixed frames
before the decoder looks; they say where, never why.

Shapes: B clips, A layers, H heads, L tokens, M places looked at, T frames, V joints.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kinesweep.core.batch import IGNORE, Batch
from kinesweep.models.encoders.frames import Stands
from kinesweep.models.fusion import Part
from kinesweep.models.translator import Translator

Kind = Literal["prompt", "separator", "stream", "after", "end", "text"]


@dataclass(frozen=True)
class Places:
    """Neighbouring places that are looked at, of one kind.

    Attributes:
        kind: what they are; `text` are tokens written before.
        first: place among the M.
        end: the place after the last.
        stream: whose frames, or whose separator.
        stands: of a stream, what each vector stands for.
    """

    kind: Kind
    first: int
    end: int
    stream: str = ""
    stands: tuple[Stands, ...] = ()


@dataclass(frozen=True)
class Attention:
    """What one clip's tokens look at.

    Attributes:
        weights_AHLM: of each layer and head; row l is what writes token l.
        places: what the M places are, in order and without gaps.
        joints: stream → (T, V): how much each frame's points count, where its encoder says so.
    """

    weights_AHLM: Tensor
    places: tuple[Places, ...]
    joints: Mapping[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def attention(model: Translator, batch: Batch) -> list[Attention]:
    """What each clip's labels look at; padding of frames, prompts and labels is left out.

    Args:
        model: in evaluation mode.
        batch: clips with the tokens that were written as their labels.

    Raises:
        InputError: the language model does not show its attention, or as `Translator.forward`.
    """
    with _recorded(model.fusion) as recorded:
        x_BNE, mask_BN = model.joined(**batch.generation_inputs())
    kind = model.config.recipe_part().backbone.kind
    weights = model.weights(x_BNE, mask_BN, batch.labels_BL)
    found = []
    for row in range(batch.num_clips):
        places = _places(model, batch, recorded[0], row)
        inputs, labels = int(mask_BN[row].sum()), int((batch.labels_BL[row] != IGNORE).sum())
        if kind == "causal":
            first = x_BNE.shape[1] - inputs  # its padding is on the left
            own = weights[row, :, :, :labels, first : x_BNE.shape[1] + labels - 1]
            places.append(Places("text", inputs, inputs + labels - 1))
        else:
            own = weights[row, :, :, :labels, :inputs]
        assert places[-1].end == own.shape[-1], "every place is named"
        found.append(Attention(own, tuple(places), _joints(model, batch, row)))
    return found


@contextmanager
def _recorded(fusion: nn.Module) -> Iterator[list[list[Part]]]:
    """What the fusion gives while the input is made."""
    given: list[list[Part]] = []
    handle = fusion.register_forward_hook(lambda _, __, parts: given.append(parts))
    try:
        yield given
    finally:
        handle.remove()


def _places(model: Translator, batch: Batch, parts: list[Part], row: int) -> list[Places]:
    """Names of a row's vectors, as `Translator.joined` puts them together."""
    counted: list[tuple[Kind, str, int]] = [("prompt", "", int(batch.prompt_mask_BP[row].sum()))]
    fusion: Any = model.fusion
    for (name, separates), (_, mask_BN) in zip(fusion.order, parts, strict=True):
        counted.append(("separator" if separates else "stream", name, int(mask_BN[row].sum())))
    counted.append(("after", "", int(batch.after_mask_BA[row].sum())))
    counted.append(("end", "", int(model.config.recipe_part().ends_input)))
    found, first = [], 0
    for kind, name, count in counted:
        stands: tuple[Stands, ...] = ()
        if kind == "stream":
            frames = int(batch.frame_masks[name][row].sum())
            # A model whose positions are few loses the ends of streams.
            encoder: Any = model.encoders[name]
            stands = tuple(encoder.stands_for(frames)[:count])
        found.append(Places(kind, first, first + count, name, stands))
        first += count
    return found


def _joints(model: Translator, batch: Batch, row: int) -> dict[str, Tensor]:
    """Stream → (T, V), of encoders that attend to joints."""
    found = {}
    encoders: dict[str, Any] = dict(model.encoders.items())
    for name, encoder in encoders.items():
        if hasattr(encoder, "attend"):
            mask_BT = batch.frame_masks[name][row : row + 1]
            length = int(mask_BT.sum())
            x_BTD = batch.streams[name][row : row + 1, :length]
            found[name] = encoder.attend(x_BTD, mask_BT[:, :length]).nodes_BTV[0]
    return found
