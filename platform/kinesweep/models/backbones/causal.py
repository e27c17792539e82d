"""The causal backbone: any decoder-only Hugging Face model, called with input vectors.

Supports Llama, Qwen, Gemma, GPT-2 and similar models, from scratch or pretrained. Input and text
form one sequence: vectors, then tokens, with positions counted over real entries only. The input is
padded on the LEFT, so the text starts at the same position in all rows and the head runs on the L
text positions only; with Llama's vocabulary of 128 k that saves most of the memory. A row in a
batch equals the row alone within 1e-5.

Shapes: B clips, N vectors, E width, L target tokens, M = N + L - 1 positions, V vocabulary,
R texts, A layers, H heads.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kinesweep.config.recipe.model import ModelPart
from kinesweep.core.batch import IGNORE
from kinesweep.core.errors import InputError
from kinesweep.models.backbones.architectures import CAUSAL
from kinesweep.models.backbones.base_backbone import BaseBackbone
from kinesweep.models.backbones.eager_attention import stack_attention_weights, use_eager_attention
from kinesweep.models.backbones.padding_masks import TextLengths, known_padding
from kinesweep.models.generation import DecodingSettings, decode_causal


class CausalBackbone(BaseBackbone):
    """Creates and calls causal language models; holds no weights itself."""

    family = CAUSAL

    def embed_tokens(self, model: PreTrainedModel, ids_BP: Tensor) -> Tensor:
        """Embed token ids (B, P) as the model does, including any scale; returns (B, P, E).

        A model that scales its embeddings (Gemma) does so in the embedding layer itself, or after
        it for `inputs_embeds` as well.
        """
        return model.get_input_embeddings()(ids_BP)

    def compute_logits(
        self,
        model: PreTrainedModel,
        x_BNE: Tensor,
        mask_BN: Tensor,
        labels_BL: Tensor,
        clip_R: Tensor | None = None,
        *,
        lengths: TextLengths | None = None,
    ) -> Tensor:
        """Compute logits aligned to the labels.

        The last input vector predicts the first label.

        Args:
            model: Hugging Face causal language model.
            x_BNE: Input vectors.
            mask_BN: Mask of the vectors, bool.
            labels_BL: Labels; with `clip_R`, those of R texts, (R, L).
            clip_R: Clip of each text, as a row of `x_BNE`; None: one text for each clip.
            lengths: Lengths of inputs and texts on the host; None: masks are read back.

        Returns:
            Logits (B, L, V), or (R, L, V) with `clip_R`.

        Raises:
            InputError: If a row has more vectors and labels than the backbone has positions.
        """
        with known_padding(None if lengths is None else lengths.has_padded_rows):
            output = self._run_teacher_forcing(model, x_BNE, mask_BN, labels_BL, clip_R)
        return output.logits[:, -labels_BL.shape[1] :]

    def compute_attention_weights(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor
    ) -> Tensor:
        """Compute the attention weights with which the model predicts each label, (B, A, H, L, M).

        Row l belongs to the position before label l, which predicts it. The M positions are the
        vectors, then the labels before the last. Input rows are padded on the LEFT, as in the
        model.

        Args:
            model: Hugging Face causal language model.
            x_BNE: Input vectors.
            mask_BN: Mask of the vectors, bool.
            labels_BL: Labels; `IGNORE` where padded.

        Raises:
            InputError: If a row has more vectors and labels than the backbone has positions, or
                the model does not return weights for all positions.
        """
        with use_eager_attention(model):
            output = self._run_teacher_forcing(
                model, x_BNE, mask_BN, labels_BL, output_attentions=True
            )
        num_labels = labels_BL.shape[1]
        text_weights = [layer[:, :, -num_labels:] for layer in output.attentions or ()]
        return stack_attention_weights(model, text_weights, x_BNE.shape[1] + num_labels - 1)

    def compute_hidden_states(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor
    ) -> Tensor:
        """Compute the last layer's hidden states from which the labels are predicted, (B, L, E).

        Args:
            model: Hugging Face causal language model.
            x_BNE: Input vectors.
            mask_BN: Mask of the vectors, bool.
            labels_BL: Labels; `IGNORE` where padded.

        Raises:
            InputError: If a row has more vectors and labels than the backbone has positions.
        """
        output = self._run_teacher_forcing(
            model, x_BNE, mask_BN, labels_BL, output_hidden_states=True
        )
        hidden_BLE: Tensor = output.hidden_states[-1][:, -labels_BL.shape[1] :]
        return hidden_BLE

    def _run_teacher_forcing(
        self,
        model: PreTrainedModel,
        x_BNE: Tensor,
        mask_BN: Tensor,
        labels_BL: Tensor,
        clip_R: Tensor | None = None,
        **output_options: bool,
    ) -> Any:
        """Run the model with teacher forcing: each label is predicted from the labels before it.

        The arguments are those of `compute_logits`; `output_options` are passed to the model.

        Returns:
            Hugging Face's output, whose logits may include positions before the text.

        Raises:
            InputError: If a row has more vectors and labels than the backbone has positions.
        """
        is_real_BL = labels_BL != IGNORE
        if clip_R is not None:
            # There is no encoder whose output the texts of a clip could share.
            x_BNE, mask_BN = x_BNE[clip_R], mask_BN[clip_R]
        x_BNE, mask_BN = move_padding_left(x_BNE, mask_BN)
        # The last label is predicted but never read, so it needs no position.
        mask_BM = torch.cat([mask_BN, is_real_BL[:, 1:]], dim=1)
        self._check_length(model, mask_BN, is_real_BL.sum(dim=1), labels_BL.shape[1])
        # `IGNORE` is not a valid id. Any token can replace it, because the mask hides it.
        ids_BL = labels_BL.masked_fill(~is_real_BL, model.config.eos_token_id)
        text_embeddings_BLE = self.embed_tokens(model, ids_BL[:, :-1])
        accepted_parameters = inspect.signature(model.forward).parameters
        num_labels = labels_BL.shape[1]
        # `logits_to_keep` limits the head to the text; some models take neither argument.
        optional_arguments = {
            "logits_to_keep": num_labels,
            "position_ids": compute_position_ids(mask_BM),
        }
        return model(
            inputs_embeds=torch.cat([x_BNE, text_embeddings_BLE], dim=1),
            attention_mask=mask_BM.long(),
            use_cache=False,
            **{
                key: value
                for key, value in optional_arguments.items()
                if key in accepted_parameters
            },
            **output_options,
        )

    def generate(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, decoding: DecodingSettings
    ) -> Tensor:
        """Generate the token ids that follow the vectors, (B, L), padded after the end of sentence.

        Args:
            model: Hugging Face causal language model.
            x_BNE: Input vectors.
            mask_BN: Mask of the vectors, bool.
            decoding: Decoding settings.

        Raises:
            InputError: If a row has more vectors and tokens than the backbone has positions.
        """
        num_tokens = decoding.max_new_tokens
        self._check_length(model, mask_BN, torch.tensor(num_tokens), num_tokens)
        return decode_causal(model, *move_padding_left(x_BNE, mask_BN), decoding)

    def get_freezable_part(self, model: PreTrainedModel, name: ModelPart) -> nn.Module:
        """Return the part of the backbone that has this name in `model.freeze`.

        Raises:
            InputError: If the part is the encoder or the decoder, which this kind does not have.
        """
        part_getters: dict[ModelPart, Callable[[], nn.Module]] = {
            "backbone": lambda: model,
            "embeddings": model.get_input_embeddings,
            "lm_head": model.get_output_embeddings,
        }
        if name not in part_getters:
            raise InputError(
                f"`model.freeze` contains `{name}`, but a causal backbone has no encoder and"
                " decoder; freeze `backbone`, `embeddings` or `lm_head`"
            )
        return part_getters[name]()

    def get_input_limit(self, model: PreTrainedModel) -> int | None:
        """Return None: vectors have no limit of their own, see `get_total_limit`."""
        return None

    def get_output_limit(self, model: PreTrainedModel) -> int | None:
        """Return None: tokens have no limit of their own, see `get_total_limit`."""
        return None

    def get_total_limit(self, model: PreTrainedModel) -> int | None:
        """Return how many input vectors and tokens fit in total; None: unlimited."""
        limit = getattr(model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    def _check_length(
        self, model: PreTrainedModel, mask_BN: Tensor, num_tokens_B: Tensor, max_tokens: int
    ) -> None:
        """Check that no row has more vectors and tokens than the backbone has positions.

        Args:
            model: Hugging Face causal language model.
            mask_BN: Mask of the input vectors, bool.
            num_tokens_B: Number of tokens of each text; a scalar if it is the same for all.
            max_tokens: Largest number of tokens of a text, or more.

        Raises:
            InputError: If a row is too long; the message names the longest one's lengths.
        """
        limit = self.get_total_limit(model)
        # Even the longest row fits, as almost always; the host need not wait for its length.
        if limit is None or mask_BN.shape[1] + max_tokens - 1 <= limit:
            return
        # The last token is never read, so it needs no position.
        lengths_B = mask_BN.sum(dim=1) + num_tokens_B.to(mask_BN.device) - 1
        if int(lengths_B.max()) <= limit:
            return
        longest_row = int(lengths_B.argmax())
        num_inputs = int(mask_BN[longest_row].sum())
        config = model.config
        # GPT-2 and others call this key differently (`n_positions`).
        key = config.attribute_map.get("max_position_embeddings", "max_position_embeddings")
        raise InputError(
            f"An input (prompt and frames) of {num_inputs} and a text of"
            f" {int(lengths_B[longest_row]) + 1 - num_inputs} tokens do not fit the backbone, a"
            f" `{config.model_type}`, where both share {limit} positions. From scratch, set"
            f" `model.backbone.scratch.{key}` to {int(lengths_B[longest_row])} or more; otherwise"
            " lower"
            " `batch.max_clip_frames` or `generation.max_new_tokens`."
        )


def move_padding_left(x_BNE: Tensor, mask_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Move the padding of each row to the left.

    Args:
        x_BNE: Vectors.
        mask_BN: Mask, bool, in any pattern.

    Returns:
        Vectors (B, N, E) and their mask, bool (B, N), True on the right only; real vectors keep
        their order.
    """
    # False sorts before True, so padding moves to the left; a stable sort keeps the order.
    source_BN = mask_BN.to(torch.uint8).argsort(dim=1, stable=True)
    moved_BNE = x_BNE.gather(1, source_BN[:, :, None].expand_as(x_BNE))
    return moved_BNE, mask_BN.gather(1, source_BN)


def compute_position_ids(mask_BM: Tensor) -> Tensor:
    """Compute position ids (B, M) that count real positions only; padding gets any valid id."""
    # Padding on the left would get the position -1, which is not in a position table.
    return (mask_BM.long().cumsum(dim=1) - 1).clamp(min=0)
