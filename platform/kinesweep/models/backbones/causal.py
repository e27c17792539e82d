"""The causal backbone: any Hugging Face decoder that stands alone, fed with vectors.

Llama, Qwen, Gemma, GPT-2 and their kin, from scratch or from a folder. Input and text are one
sequence: vectors, then tokens, positions counted on what is real. Padding of the input goes to the
LEFT, so the text begins at the same place in all rows and the head works on its L places alone; of
a Llama's vocabulary of 128 k, that is most of the memory. A row in a batch equals the row alone
within 1e-5.

Shapes: B clips, N vectors, E width, L target tokens, M = N + L - 1 places, V vocabulary, R texts,
A layers, H heads.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kinesweep.core.batch import IGNORE
from kinesweep.core.errors import InputError
from kinesweep.core.recipe.model import ModelPart
from kinesweep.models.backbones.family import CAUSAL
from kinesweep.models.backbones.looking import eager, stacked
from kinesweep.models.backbones.made import Made
from kinesweep.models.generation import Decoding, continue_text


class Causal(Made):
    """How a causal language model is made and fed. Holds nothing itself."""

    family = CAUSAL

    def embed(self, model: PreTrainedModel, ids_BP: Tensor) -> Tensor:
        """Tokens as the model itself would embed them, scale included. Returns (B, P, E).

        Where there is a scale (Gemma), it is in the embedding itself or behind `inputs_embeds`.
        """
        return model.get_input_embeddings()(ids_BP)

    def logits(
        self,
        model: PreTrainedModel,
        x_BNE: Tensor,
        mask_BN: Tensor,
        labels_BL: Tensor,
        clip_R: Tensor | None = None,
    ) -> Tensor:
        """Scores aligned to the labels, (B, L, V): the last vector predicts the first label.

        With `clip_R` the labels are those of R texts, each of which belongs to the clip that is
        named there and is read behind it. Returns (R, L, V) then.

        Raises:
            InputError: more vectors and labels in a row than the backbone has positions for.
        """
        if clip_R is not None:
            x_BNE, mask_BN = x_BNE[clip_R], mask_BN[clip_R]
        return self._taught(model, x_BNE, mask_BN, labels_BL).logits[:, -labels_BL.shape[1] :]

    def attention(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor
    ) -> Tensor:
        """What writes each label looks at, (B, A, H, L, M): vectors, then the labels before it.

        The place that writes a label is the one before it. Rows of the input are padded on the
        LEFT, as the model reads them.

        Raises:
            InputError: as `logits`; or the model shows no attention, or not to each place.
        """
        with eager(model):
            output = self._taught(model, x_BNE, mask_BN, labels_BL, output_attentions=True)
        num_labels = labels_BL.shape[1]
        written = [layer[:, :, -num_labels:] for layer in output.attentions or ()]
        return stacked(model, written, x_BNE.shape[1] + num_labels - 1)

    def _taught(
        self,
        model: PreTrainedModel,
        x_BNE: Tensor,
        mask_BN: Tensor,
        labels_BL: Tensor,
        **also: bool,
    ) -> Any:
        """The model's output where it is given the labels before each label."""
        is_real_BL = labels_BL != IGNORE
        x_BNE, mask_BN = to_the_right(x_BNE, mask_BN)
        # A row's last label is written, but not read, so it needs no position.
        mask_BM = torch.cat([mask_BN, is_real_BL[:, 1:]], dim=1)
        self._check_length(model, mask_BN, is_real_BL.sum(dim=1))
        # Any token will do where there is none: nothing real looks at it.
        ids_BL = labels_BL.masked_fill(~is_real_BL, model.config.eos_token_id)
        words_BLE = self.embed(model, ids_BL[:, :-1])
        asked = inspect.signature(model.forward).parameters
        num_labels = labels_BL.shape[1]
        given = {"logits_to_keep": num_labels, "position_ids": positions(mask_BM)}
        return model(
            inputs_embeds=torch.cat([x_BNE, words_BLE], dim=1),
            attention_mask=mask_BM.long(),
            use_cache=False,
            **{key: value for key, value in given.items() if key in asked},
            **also,
        )

    def generate(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, decoding: Decoding
    ) -> Tensor:
        """Token ids behind the vectors, padded after the end. Returns (B, L).

        Raises:
            InputError: more vectors and tokens in a row than the backbone has positions for.
        """
        self._check_length(model, mask_BN, torch.tensor(decoding.max_new_tokens))
        return continue_text(model, *to_the_right(x_BNE, mask_BN), decoding)

    def part(self, model: PreTrainedModel, name: ModelPart) -> nn.Module:
        """A part of the backbone that can be frozen.

        Raises:
            InputError: a half, which this kind has not.
        """
        find: dict[ModelPart, Callable[[], nn.Module]] = {
            "backbone": lambda: model,
            "embeddings": model.get_input_embeddings,
            "lm_head": model.get_output_embeddings,
        }
        if name not in find:
            raise InputError(
                f"`model.freeze` holds `{name}`, but a causal backbone has no halves; freeze"
                " `backbone`, `embeddings` or `lm_head`"
            )
        return find[name]()

    def input_limit(self, model: PreTrainedModel) -> int | None:
        """Vectors alone; None: see `total_limit`."""
        return None

    def output_limit(self, model: PreTrainedModel) -> int | None:
        """Tokens alone; None: see `total_limit`."""
        return None

    def total_limit(self, model: PreTrainedModel) -> int | None:
        """Vectors and tokens together that the backbone has positions for; None: any number."""
        limit = getattr(model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    def _check_length(self, model: PreTrainedModel, mask_BN: Tensor, tokens_B: Tensor) -> None:
        """Refuses rows that go beyond the positions that the model was made for."""
        limit = self.total_limit(model)
        rows = mask_BN.sum(dim=1) + tokens_B.to(mask_BN.device) - 1
        if limit is None or int(rows.max()) <= limit:
            return
        worst = int(rows.argmax())
        inputs = int(mask_BN[worst].sum())
        config = model.config
        key = config.attribute_map.get("max_position_embeddings", "max_position_embeddings")
        raise InputError(
            f"Input (prompt and frames) of {inputs} and {int(rows[worst]) + 1 - inputs} tokens do"
            f" not fit the backbone, a `{config.model_type}`, where both share {limit} positions."
            f" From scratch, set `model.backbone.scratch.{key}` to {int(rows[worst])} or more;"
            " otherwise lower `batch.max_clip_frames` or `generation.max_new_tokens`."
        )


def to_the_right(x_BNE: Tensor, mask_BN: Tensor) -> tuple[Tensor, Tensor]:
    """The same rows with their padding on the left.

    Args:
        x_BNE: vectors.
        mask_BN: bool; True where real, in any place.
    """
    order_BN = mask_BN.to(torch.uint8).argsort(dim=1, stable=True)
    moved_BNE = x_BNE.gather(1, order_BN[:, :, None].expand_as(x_BNE))
    return moved_BNE, mask_BN.gather(1, order_BN)


def positions(mask_BM: Tensor) -> Tensor:
    """Place of each real vector among the real ones of its row; of padding, one that exists."""
    return (mask_BM.long().cumsum(dim=1) - 1).clamp(min=0)
