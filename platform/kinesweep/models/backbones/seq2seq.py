"""The seq2seq backbone: any Hugging Face encoder-decoder, called with input vectors.

Supports M2M-100, mBART, BART, T5 and similar models, from scratch or pretrained. Vectors enter
through `inputs_embeds` and the decoder writes the text; the encoder runs once per clip, regardless
of the number of beams.

Shapes: B clips, N vectors, E width, L target tokens, V vocabulary, F forced tokens, R texts,
A layers, H heads.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from kinesweep.config.recipe.model import ModelPart
from kinesweep.core.errors import InputError
from kinesweep.models.backbones.architectures import SEQ2SEQ
from kinesweep.models.backbones.base import Made
from kinesweep.models.backbones.eager_attention import eager, stacked
from kinesweep.models.generation import Decoding, decode
from kinesweep.models.losses.cross_entropy import shifted_right


class Seq2Seq(Made):
    """Creates and calls encoder-decoder models; holds no weights itself."""

    family = SEQ2SEQ

    def embed(self, model: PreTrainedModel, ids_BP: Tensor) -> Tensor:
        """Embed tokens as the encoder does, including its scale. Returns (B, P, E)."""
        encoder = model.get_encoder()
        embedded_BPE = encoder.get_input_embeddings()(ids_BP)
        # BART and M2M-100 scale inside the embedding layer; Pegasus and Marian outside of it, in
        # the code path that `inputs_embeds` skips.
        scale = getattr(encoder, "embed_scale", None)
        return embedded_BPE if scale is None else embedded_BPE * scale

    def logits(
        self,
        model: PreTrainedModel,
        x_BNE: Tensor,
        mask_BN: Tensor,
        labels_BL: Tensor,
        clip_R: Tensor | None = None,
    ) -> Tensor:
        """Return logits aligned to the labels, (B, L, V).

        With `clip_R`, the labels are those of R texts and `clip_R` gives the clip of each; the
        encoder still reads each clip only once. Returns (R, L, V) in this case.

        Raises:
            InputError: If there are more vectors or labels than the backbone has positions.
        """
        return self._taught(model, x_BNE, mask_BN, labels_BL, clip_R).logits

    def attention(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor
    ) -> Tensor:
        """Return the decoder's cross-attention weights of each label, (B, A, H, L, N).

        Raises:
            InputError: As in `logits`, or if the model does not return weights for all vectors.
        """
        with eager(model):
            output = self._taught(model, x_BNE, mask_BN, labels_BL, output_attentions=True)
        return stacked(model, output.cross_attentions, x_BNE.shape[1])

    def generate(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, decoding: Decoding
    ) -> Tensor:
        """Generate tokens without the start token, padded after the end of sentence; (B, L).

        Raises:
            InputError: If there are more vectors or tokens than the backbone has positions.
        """
        self._check_length(model, x_BNE.shape[1], decoding.max_new_tokens)
        return decode(model, x_BNE, mask_BN, decoding)

    def _taught(
        self,
        model: PreTrainedModel,
        x_BNE: Tensor,
        mask_BN: Tensor,
        labels_BL: Tensor,
        clip_R: Tensor | None = None,
        **asked: bool,
    ) -> Any:
        """Run the model with teacher forcing: each label is predicted from the labels before it."""
        self._check_length(model, x_BNE.shape[1], labels_BL.shape[1])
        config = model.config
        decoder_ids_BL = shifted_right(
            labels_BL, config.decoder_start_token_id, config.pad_token_id
        )
        read: dict[str, Any] = {"inputs_embeds": x_BNE}
        if clip_R is not None:
            # Run the encoder on the clips, then repeat its output for each of a clip's texts.
            encoder = model.get_encoder()
            read_BNE = encoder(inputs_embeds=x_BNE, attention_mask=mask_BN.long())[0]
            read = {"encoder_outputs": BaseModelOutput(read_BNE[clip_R])}
            mask_BN = mask_BN[clip_R]
        return model(
            **read,
            attention_mask=mask_BN.long(),
            decoder_input_ids=decoder_ids_BL,
            use_cache=False,
            **asked,
        )

    def submodule(self, model: PreTrainedModel, name: ModelPart) -> nn.Module:
        """Return a part of the backbone that can be frozen."""
        find: dict[ModelPart, Callable[[], nn.Module]] = {
            "backbone": lambda: model,
            "backbone_encoder": model.get_encoder,
            "backbone_decoder": model.get_decoder,
            "embeddings": model.get_input_embeddings,
            "lm_head": model.get_output_embeddings,
        }
        return find[name]()

    def input_limit(self, model: PreTrainedModel) -> int | None:
        """Return how many vectors the encoder has positions for; None: unlimited."""
        return _positions(model.get_encoder())

    def output_limit(self, model: PreTrainedModel) -> int | None:
        """Return how many tokens the decoder has positions for; None: unlimited."""
        return _positions(model.get_decoder())

    def total_limit(self, model: PreTrainedModel) -> int | None:
        """Return None: encoder and decoder have positions of their own."""
        return None

    def _check_length(self, model: PreTrainedModel, num_inputs: int, num_outputs: int) -> None:
        """Check that no position lies beyond a fixed position table."""
        keys = [key for key in vars(model.config) if key.endswith("position_embeddings")]
        asked = (
            ("input (prompt, frames and end)", num_inputs, self.input_limit(model)),
            ("output tokens", num_outputs, self.output_limit(model)),
        )
        for what, got, limit in asked:
            if limit is not None and got > limit:
                raise InputError(
                    f"An {what} of {got} does not fit the backbone, a `{model.config.model_type}`"
                    f" with {limit} positions. From scratch, set"
                    f" `model.backbone.scratch.{keys[0] if keys else 'max_position_embeddings'}`"
                    f" to {got} or more; otherwise lower `batch.max_clip_frames` or use an"
                    " `m2m_100` or `t5`, which have no limit."
                )


def _positions(half: nn.Module) -> int | None:
    """Return the rows of a fixed position table; None if positions are computed on demand."""
    table = getattr(half, "embed_positions", None)
    if not isinstance(table, nn.Embedding):
        return None
    # BART's table reserves its first rows (`offset`), which are not positions.
    return table.num_embeddings - int(getattr(table, "offset", 0))
