"""The seq2seq backbone: any Hugging Face encoder-decoder, fed with vectors.

M2M-100, mBART, BART, T5 and their kin, from scratch or from a folder. Vectors enter through
`inputs_embeds`, text leaves through the decoder; the encoder runs once a clip, however many beams.

Shapes: B clips, N vectors, E width, L target tokens, V vocabulary, F forced tokens, M texts,
A layers, H heads.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.model import ModelPart
from kinesweep.models.backbones.family import SEQ2SEQ
from kinesweep.models.backbones.looking import eager, stacked
from kinesweep.models.backbones.made import Made
from kinesweep.models.generation import Decoding, decode
from kinesweep.models.objectives.cross_entropy import shifted_right


class Seq2Seq(Made):
    """How an encoder-decoder is made and fed. Holds nothing itself."""

    family = SEQ2SEQ

    def embed(self, model: PreTrainedModel, ids_BP: Tensor) -> Tensor:
        """Tokens as the encoder itself would embed them, scale included. Returns (B, P, E)."""
        encoder = model.get_encoder()
        embedded_BPE = encoder.get_input_embeddings()(ids_BP)
        # BART and M2M-100 scale inside their embedding, Pegasus and Marian outside of it.
        scale = getattr(encoder, "embed_scale", None)
        return embedded_BPE if scale is None else embedded_BPE * scale

    def logits(
        self,
        model: PreTrainedModel,
        x_BNE: Tensor,
        mask_BN: Tensor,
        labels_BL: Tensor,
        clip_M: Tensor | None = None,
    ) -> Tensor:
        """Scores aligned to the labels, (B, L, V).

        With `clip_M` the labels are those of M texts, each of which belongs to the clip that is
        named there: the encoder reads each clip once. Returns (M, L, V) then.

        Raises:
            InputError: more vectors or labels than the backbone has positions for.
        """
        return self._taught(model, x_BNE, mask_BN, labels_BL, clip_M).logits

    def attention(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor
    ) -> Tensor:
        """What writes each label looks at: the decoder's cross-attention, (B, A, H, L, N).

        Raises:
            InputError: as `logits`; or the model shows no attention, or not to each vector.
        """
        with eager(model):
            output = self._taught(model, x_BNE, mask_BN, labels_BL, output_attentions=True)
        return stacked(model, output.cross_attentions, x_BNE.shape[1])

    def generate(
        self, model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, decoding: Decoding
    ) -> Tensor:
        """Token ids without the start token, padded after the end. Returns (B, L).

        Raises:
            InputError: more vectors or tokens than the backbone has positions for.
        """
        self._check_length(model, x_BNE.shape[1], decoding.max_new_tokens)
        return decode(model, x_BNE, mask_BN, decoding)

    def _taught(
        self,
        model: PreTrainedModel,
        x_BNE: Tensor,
        mask_BN: Tensor,
        labels_BL: Tensor,
        clip_M: Tensor | None = None,
        **asked: bool,
    ) -> Any:
        """The model's output where it is given the labels before each label."""
        self._check_length(model, x_BNE.shape[1], labels_BL.shape[1])
        config = model.config
        decoder_ids_BL = shifted_right(
            labels_BL, config.decoder_start_token_id, config.pad_token_id
        )
        read: dict[str, Any] = {"inputs_embeds": x_BNE}
        if clip_M is not None:
            encoder = model.get_encoder()
            read_BNE = encoder(inputs_embeds=x_BNE, attention_mask=mask_BN.long())[0]
            read = {"encoder_outputs": BaseModelOutput(read_BNE[clip_M])}
            mask_BN = mask_BN[clip_M]
        return model(
            **read,
            attention_mask=mask_BN.long(),
            decoder_input_ids=decoder_ids_BL,
            use_cache=False,
            **asked,
        )

    def part(self, model: PreTrainedModel, name: ModelPart) -> nn.Module:
        """A part of the backbone that can be frozen."""
        find: dict[ModelPart, Callable[[], nn.Module]] = {
            "backbone": lambda: model,
            "backbone_encoder": model.get_encoder,
            "backbone_decoder": model.get_decoder,
            "embeddings": model.get_input_embeddings,
            "lm_head": model.get_output_embeddings,
        }
        return find[name]()

    def input_limit(self, model: PreTrainedModel) -> int | None:
        """Vectors that the encoder has positions for; None: any number."""
        return _positions(model.get_encoder())

    def output_limit(self, model: PreTrainedModel) -> int | None:
        """Tokens that the decoder has positions for; None: any number."""
        return _positions(model.get_decoder())

    def total_limit(self, model: PreTrainedModel) -> int | None:
        """Input and output together; None: each has positions of its own."""
        return None

    def _check_length(self, model: PreTrainedModel, num_inputs: int, num_outputs: int) -> None:
        """Refuses what would index beyond a table of positions."""
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
                    f" to {got} or more; otherwise lower `batch.max_clip_frames` or take an"
                    " `m2m_100` or `t5`, which have no limit."
                )


def _positions(half: nn.Module) -> int | None:
    """Rows of a fixed table of positions; None where positions are computed as needed."""
    table = getattr(half, "embed_positions", None)
    if not isinstance(table, nn.Embedding):
        return None
    return table.num_embeddings - int(getattr(table, "offset", 0))
