"""The seq2seq backbone: any Hugging Face encoder-decoder, called with input vectors.

Supports M2M-100, mBART, BART, T5 and similar models, from scratch or pretrained. Vectors enter
through `inputs_embeds` and the decoder generates the text; the encoder runs once per clip,
regardless of the number of beams. With `encoder_pooling`, the decoder reads one vector per clip,
which makes the text decoder of SONAR (arXiv 2308.11466), an M2M-100 in Hugging Face's form, a
backbone.

Shapes: B clips, N vectors, P prompt tokens, E width, L target tokens, V vocabulary, R texts,
A layers, H heads.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from kinesweep.config.recipe.model import ModelPart
from kinesweep.config.recipe.model.backbone import AnyBackbone
from kinesweep.core.errors import InputError
from kinesweep.models.backbones.architectures import SEQ2SEQ
from kinesweep.models.backbones.base_backbone import BaseBackbone
from kinesweep.models.backbones.eager_attention import stack_attention_weights, use_eager_attention
from kinesweep.models.backbones.padding_masks import TextLengths, known_padding
from kinesweep.models.generation import DecodingSettings, decode_seq2seq
from kinesweep.models.losses.cross_entropy import shift_labels_right


class Seq2SeqBackbone(BaseBackbone):
    """Creates and calls encoder-decoder models; holds no weights itself."""

    family = SEQ2SEQ

    def store_settings(self, config: AnyBackbone, hf_config: Any) -> None:
        """Store the pooling of the encoder's output, if there is one, in Hugging Face's config."""
        pooling = getattr(config, "encoder_pooling", "none")
        if pooling != "none":
            hf_config.encoder_pooling = pooling

    def embed_tokens(self, model: PreTrainedModel, ids_BP: Tensor) -> Tensor:
        """Embed token ids (B, P) as the encoder does, including its scale; returns (B, P, E)."""
        encoder = model.get_encoder()
        embedded_BPE = encoder.get_input_embeddings()(ids_BP)
        # BART and M2M-100 scale inside the embedding layer; Pegasus and Marian outside of it, in
        # the code path that `inputs_embeds` skips.
        scale = getattr(encoder, "embed_scale", None)
        return embedded_BPE if scale is None else embedded_BPE * scale

    def encode(self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor) -> Tensor:
        """Run the encoder alone; returns its output (B, N, E).

        Args:
            model: Hugging Face encoder-decoder.
            x_BNE: Input vectors.
            mask_BN: Mask of the vectors, bool.

        Raises:
            InputError: If there are more vectors than the encoder has positions.
        """
        self._check_length(model, x_BNE.shape[1], 0)
        encoded_BNE: Tensor = model.get_encoder()(
            inputs_embeds=x_BNE, attention_mask=mask_BN.long()
        )[0]
        return encoded_BNE

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
        """Compute logits aligned to the labels; the encoder reads each clip once.

        Args:
            model: Hugging Face encoder-decoder.
            x_BNE: Input vectors.
            mask_BN: Mask of the vectors, bool.
            labels_BL: Labels; with `clip_R`, those of R texts, (R, L).
            clip_R: Clip of each text, as a row of `x_BNE`; None: one text for each clip.
            lengths: Lengths of inputs and texts on the host; None: masks are read back.

        Returns:
            Logits (B, L, V), or (R, L, V) with `clip_R`.

        Raises:
            InputError: If there are more vectors or labels than the backbone has positions.
        """
        # The decoder needs no mask for its labels; pooled vectors have another mask.
        is_padded = None if lengths is None else lengths.has_padded_vectors
        with known_padding(None if _pools_encoder(model) else is_padded):
            return self._run_teacher_forcing(model, x_BNE, mask_BN, labels_BL, clip_R).logits

    def compute_attention_weights(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor
    ) -> Tensor:
        """Compute the cross-attention weights with which the decoder predicts each label.

        Args:
            model: Hugging Face encoder-decoder.
            x_BNE: Input vectors.
            mask_BN: Mask of the vectors, bool.
            labels_BL: Labels; `IGNORE` where padded.

        Returns:
            Weights of each label over the N vectors, (B, A, H, L, N).

        Raises:
            InputError: If there are more vectors or labels than the backbone has positions, the
                model does not return weights for all vectors, or its encoder's output is pooled.
        """
        if _pools_encoder(model):
            raise InputError(
                "with `model.backbone.encoder_pooling: mean` the decoder attends to a single vector"
                " per clip, so there are no attention weights over frames"
            )
        with use_eager_attention(model):
            output = self._run_teacher_forcing(
                model, x_BNE, mask_BN, labels_BL, output_attentions=True
            )
        return stack_attention_weights(model, output.cross_attentions, x_BNE.shape[1])

    def compute_hidden_states(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor
    ) -> Tensor:
        """Compute the decoder's last hidden states, from which the labels are predicted, (B, L, E).

        Args:
            model: Hugging Face encoder-decoder.
            x_BNE: Input vectors.
            mask_BN: Mask of the vectors, bool.
            labels_BL: Labels; `IGNORE` where padded.

        Raises:
            InputError: If there are more vectors or labels than the backbone has positions.
        """
        output = self._run_teacher_forcing(
            model, x_BNE, mask_BN, labels_BL, output_hidden_states=True
        )
        hidden_BLE: Tensor = output.decoder_hidden_states[-1]
        return hidden_BLE

    def generate(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, decoding: DecodingSettings
    ) -> Tensor:
        """Generate token ids without the start token, (B, L), padded after the end of sentence.

        Args:
            model: Hugging Face encoder-decoder.
            x_BNE: Input vectors.
            mask_BN: Mask of the vectors, bool.
            decoding: Decoding settings.

        Raises:
            InputError: If there are more vectors or tokens than the backbone has positions.
        """
        self._check_length(model, x_BNE.shape[1], decoding.max_new_tokens)
        if not _pools_encoder(model):
            return decode_seq2seq(model, x_BNE, mask_BN, decoding)
        pooled_B1E, mask_B1 = _pool(self.encode(model, x_BNE, mask_BN), mask_BN)
        return decode_seq2seq(model, pooled_B1E, mask_B1, decoding, is_encoded=True)

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
            Hugging Face's output.

        Raises:
            InputError: If there are more vectors or labels than the backbone has positions.
        """
        self._check_length(model, x_BNE.shape[1], labels_BL.shape[1])
        config = model.config
        decoder_ids_BL = shift_labels_right(
            labels_BL, config.decoder_start_token_id, config.pad_token_id
        )
        encoder_inputs: dict[str, Any] = {"inputs_embeds": x_BNE}
        if clip_R is not None or _pools_encoder(model):
            encoded_BNE = self.encode(model, x_BNE, mask_BN)
            if _pools_encoder(model):
                encoded_BNE, mask_BN = _pool(encoded_BNE, mask_BN)
            if clip_R is not None:
                # The encoder runs once per clip; its output is repeated for each of its texts.
                encoded_BNE, mask_BN = encoded_BNE[clip_R], mask_BN[clip_R]
            encoder_inputs = {"encoder_outputs": BaseModelOutput(encoded_BNE)}
        return model(
            **encoder_inputs,
            attention_mask=mask_BN.long(),
            decoder_input_ids=decoder_ids_BL,
            use_cache=False,
            **output_options,
        )

    def get_freezable_part(self, model: PreTrainedModel, name: ModelPart) -> nn.Module:
        """Return the part of the backbone that has this name in `model.freeze`."""
        part_getters: dict[ModelPart, Callable[[], nn.Module]] = {
            "backbone": lambda: model,
            "backbone_encoder": model.get_encoder,
            "backbone_decoder": model.get_decoder,
            "embeddings": model.get_input_embeddings,
            "lm_head": model.get_output_embeddings,
        }
        return part_getters[name]()

    def get_input_limit(self, model: PreTrainedModel) -> int | None:
        """Return how many vectors the encoder has positions for; None: unlimited."""
        return _count_positions(model.get_encoder())

    def get_output_limit(self, model: PreTrainedModel) -> int | None:
        """Return how many tokens the decoder has positions for; None: unlimited."""
        return _count_positions(model.get_decoder())

    def get_total_limit(self, model: PreTrainedModel) -> int | None:
        """Return None: encoder and decoder have positions of their own."""
        return None

    def _check_length(self, model: PreTrainedModel, num_inputs: int, num_outputs: int) -> None:
        """Check that input and output are not longer than the backbone's fixed position tables.

        Args:
            model: Hugging Face encoder-decoder.
            num_inputs: Number of input vectors, with padding.
            num_outputs: Number of output tokens, with padding.

        Raises:
            InputError: If one of them is longer than its table.
        """
        keys = [key for key in vars(model.config) if key.endswith("position_embeddings")]
        lengths = (
            ("input (prompt, frames and end)", num_inputs, self.get_input_limit(model)),
            ("output tokens", num_outputs, self.get_output_limit(model)),
        )
        for description, length, limit in lengths:
            if limit is not None and length > limit:
                raise InputError(
                    f"An {description} of {length} does not fit the backbone, a"
                    f" `{model.config.model_type}`"
                    f" with {limit} positions. From scratch, set"
                    f" `model.backbone.scratch.{keys[0] if keys else 'max_position_embeddings'}`"
                    f" to {length} or more; otherwise lower `batch.max_clip_frames` or use an"
                    " `m2m_100` or `t5`, which have no limit."
                )


def _pools_encoder(model: PreTrainedModel) -> bool:
    """Return whether the decoder reads the mean of the encoder's output instead of all of it."""
    return getattr(model.config, "encoder_pooling", "none") == "mean"


def _pool(encoded_BNE: Tensor, mask_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of real vectors over time, (B, 1, E), and its mask, bool (B, 1)."""
    weights_BN1 = mask_BN[:, :, None].to(encoded_BNE.dtype)
    pooled_B1E = (encoded_BNE * weights_BN1).sum(1, keepdim=True) / weights_BN1.sum(1, keepdim=True)
    return pooled_B1E, mask_BN.any(dim=1, keepdim=True)


def _count_positions(module: nn.Module) -> int | None:
    """Count the positions of an encoder's or decoder's fixed position table.

    The result is None if positions are computed on demand, so there is no limit.
    """
    table = getattr(module, "embed_positions", None)
    if not isinstance(table, nn.Embedding):
        return None
    # BART's table reserves its first rows (`offset`), which are not positions.
    return table.num_embeddings - int(getattr(table, "offset", 0))
