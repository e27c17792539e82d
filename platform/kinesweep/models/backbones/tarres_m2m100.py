"""The architecture of Tarrés et al.: M2M-100 with a layer norm after the decoder's embeddings.

fairseq calls it `layernorm_embedding`. No Hugging Face architecture has it in the decoder only
(mBART has it in encoder and decoder, M2M-100 in neither), so their checkpoints could not be loaded
otherwise. The norm is placed at the start of the decoder's first layer, followed by the dropout
that normally precedes the layer; it adds 2 · E weights. The configuration keys are those of
`m2m_100`, which is the better choice for new models.

Shapes: B clips, L target tokens, E width.
"""

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    M2M100Config,
    M2M100ForConditionalGeneration,
)
from transformers.models.m2m_100.modeling_m2m_100 import M2M100DecoderLayer


class TarresConfig(M2M100Config):
    """The configuration of `m2m_100` under another model type."""

    model_type = "tarres"


class NormedDecoderLayer(M2M100DecoderLayer):
    """The decoder's first layer, with layer norm and dropout applied to its input embeddings.

    Args:
        config: Configuration of the model.
    """

    def __init__(self, config: TarresConfig) -> None:
        super().__init__(config, layer_idx=0)
        self.layernorm_embedding = nn.LayerNorm(config.d_model)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Normalize embeddings with positions, (B, L, E), apply dropout and run the layer on them.

        Args:
            hidden_states: Embeddings of the decoder's input, with positions.
            *args: Passed to Hugging Face's layer.
            **kwargs: Passed to Hugging Face's layer.
        """
        x_BLE = self.layernorm_embedding(hidden_states)
        x_BLE = functional.dropout(x_BLE, p=self.dropout, training=self.training)
        return super().forward(x_BLE, *args, **kwargs)


class TarresModel(M2M100ForConditionalGeneration):
    """M2M-100 with a layer norm at the start of its decoder.

    Args:
        config: Configuration of the model.
    """

    config_class = TarresConfig
    _no_split_modules: ClassVar[list[str]] = [
        *(M2M100ForConditionalGeneration._no_split_modules or ()),
        "NormedDecoderLayer",
    ]

    def __init__(self, config: TarresConfig) -> None:
        super().__init__(config)
        decoder = self.model.decoder
        decoder.layers[0] = NormedDecoderLayer(config)
        decoder.dropout = 0.0  # the first layer applies it, after the norm
        self.post_init()


AutoConfig.register(TarresConfig.model_type, TarresConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(TarresConfig, TarresModel, exist_ok=True)
