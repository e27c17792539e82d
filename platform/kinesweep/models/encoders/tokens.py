"""The encoder of token ids: one embedding for each token, with an optional norm and dropout.

The embeddings are a table of its own, or the backbone's, which the translator looks up, so that a
model of texts reads them as it reads its own prompts. Positions and context are left to the
backbone.

Shapes: B clips, T tokens, E output width.
"""

import torch
from torch import Tensor, nn

from kinesweep.config.recipe.model.encoders import TokensEncoderConfig
from kinesweep.models.encoders.frame_encoder import SourceSpan


class TokensEncoder(nn.Module):
    """Embeds token ids, or passes on the embeddings of the backbone.

    Args:
        config: Origin of the embeddings, and optional steps.
        width: Number of tokens of the vocabulary.
        out: Output width E.

    Attributes:
        shares_embeddings: Whether the input is vectors of the backbone instead of ids.
    """

    def __init__(self, config: TokensEncoderConfig, width: int, out: int) -> None:
        super().__init__()
        # The table of the backbone is not a submodule here, or its weights would be saved twice.
        self.shares_embeddings = config.embeddings == "backbone"
        # A table that is never read would be saved with the model and counted as its weights.
        self.embedding = None if self.shares_embeddings else nn.Embedding(width, out)
        self.norm_out = nn.LayerNorm(out) if config.should_normalize else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def set_statistics(self, mean_D: Tensor, deviation_D: Tensor) -> None:
        """Do nothing: ids have no statistics."""

    def get_source_spans(self, num_frames: int) -> list[SourceSpan]:
        """Return the token that each output vector represents.

        Args:
            num_frames: Number of tokens of the text.
        """
        return [SourceSpan(index, index + 1) for index in range(num_frames)]

    def count_vectors(self, num_frames: int) -> int:
        """Count the output vectors of a text: one for each of its tokens."""
        return num_frames

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of the tokens, (B, T, E), and their mask.

        Args:
            x_BTD: Ids, int64 (B, T, 1), or embeddings of the backbone (B, T, E).
            mask_BT: Mask of the tokens, bool.
        """
        # Ids may arrive as floating point numbers, which hold whole numbers up to 2^24 exactly.
        x_BTE = x_BTD if self.embedding is None else self.embedding(x_BTD[..., 0].to(torch.long))
        return self.dropout(self.norm_out(x_BTE)), mask_BT
