"""Tarrés' transformer: M2M-100 with one norm more, behind the decoder's embeddings.

fairseq calls it `layernorm_embedding`, and no architecture of Hugging Face's has it in the decoder
alone (mBART has it in both halves, M2M-100 in none); without it their checkpoints have no place.
It stands at the front of the decoder's first layer, followed by the dropout that otherwise precedes
it: 2 · E weights. Its keys are those of `m2m_100`; take that one for anything new.

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
    """Keys of `m2m_100`."""

    model_type = "tarres"


class NormedDecoderLayer(M2M100DecoderLayer):
    """A decoder's first layer, which normalises and drops embeddings before all else.

    Args:
        config: the model's.
    """

    def __init__(self, config: TarresConfig) -> None:
        super().__init__(config, layer_idx=0)
        self.layernorm_embedding = nn.LayerNorm(config.d_model)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Embeddings with positions (B, L, E) in, as any layer's output out."""
        x_BLE = self.layernorm_embedding(hidden_states)
        x_BLE = functional.dropout(x_BLE, p=self.dropout, training=self.training)
        return super().forward(x_BLE, *args, **kwargs)


class TarresModel(M2M100ForConditionalGeneration):
    """M2M-100 whose decoder begins with a norm.

    Args:
        config: sizes and dropout.
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
        decoder.dropout = 0.0  # The first layer drops, behind its norm.
        self.post_init()


AutoConfig.register(TarresConfig.model_type, TarresConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(TarresConfig, TarresModel, exist_ok=True)
