"""The text tower of the CLIP objective: tokens of a text in, one unit vector out.

Shapes: B texts, L tokens, D width of the encoder, E width of the embedding.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.config.pretraining.text_tower import TextPooling, TextTowerConfig
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.lora import add_text_lora, is_adapter_weight
from kinesweep.models.pretraining.projection import build_projection
from kinesweep.models.pretraining.text_encoder_loading import create_text_encoder


class TextTower(nn.Module):
    """A text encoder, pooling and a projection to unit vectors.

    Args:
        config: Section `objective.text`.
        vocabulary: Vocabulary of the tokenizer.
        width: Width of the embedding, E.

    Raises:
        ConfigError: If the encoder does not fit the section.
        InputError: If the pretrained model cannot be used.
        CheckpointError: If its weights have changed since the run was created.
    """

    def __init__(self, config: TextTowerConfig, vocabulary: Vocabulary, width: int) -> None:
        super().__init__()
        self.config = config
        encoder: Any = create_text_encoder(config, vocabulary)
        self.encoder = encoder
        if config.lora is not None:
            add_text_lora(self.encoder, config.lora)
        for name, parameter in self.encoder.named_parameters():
            # Frozen here and not by PEFT alone, which leaves other weights as they are.
            is_trained = config.lora is None or is_adapter_weight(name)
            parameter.requires_grad_(is_trained and not config.freeze)
        self.projection = build_projection(
            config.projection, encoder.config.hidden_size, width, "objective.text.projection"
        )

    def train(self, mode: bool = True) -> Self:
        """Set training mode, which a frozen encoder never enters."""
        super().train(mode)
        # Dropout would change the vectors of weights that cannot adapt to it.
        if self.config.freeze:
            self.encoder.eval()
        return self

    def forward(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Embed texts as unit vectors, float32 (B, E).

        Args:
            ids_BL: Ids of the tokens, int64.
            mask_BL: Mask of the tokens, bool, True on the left only; each text has a token.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze):
            output = self.encoder(input_ids=ids_BL, attention_mask=mask_BL.long())
            pooled_BD = (
                output.pooler_output
                if self.config.pooling == "pooler"
                else pool_tokens(output.last_hidden_state, mask_BL, self.config.pooling)
            )
        return functional.normalize(self.projection(pooled_BD).float(), dim=1)


def pool_tokens(x_BLD: Tensor, mask_BL: Tensor, pooling: TextPooling) -> Tensor:
    """Pool the states of the tokens to one vector per text, (B, D).

    Args:
        x_BLD: States of the tokens.
        mask_BL: Mask of the tokens, bool, True on the left only.
        pooling: `mean`, `max`, `first` or `last`.
    """
    if pooling == "first":
        return x_BLD[:, 0]
    if pooling == "last":
        return x_BLD[torch.arange(len(x_BLD), device=x_BLD.device), mask_BL.sum(dim=1) - 1]
    if pooling == "max":
        return x_BLD.masked_fill(~mask_BL[:, :, None], float("-inf")).amax(dim=1)
    # Padding has states too, which the mean must not see.
    return x_BLD.masked_fill(~mask_BL[:, :, None], 0).sum(dim=1) / mask_BL.sum(dim=1, keepdim=True)
