"""BERTScore: F1 of the best matches between contextual token embeddings of two texts.

It is computed here, because torchmetrics 1.9.0 sorts hypotheses and references by their own lengths
and restores neither order, so it compares a text with the reference of another one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.metrics import BertScoreConfig
from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics.base import ClipMeanMetric, TextPair
from kinesweep.evaluation.metrics.model_loading import load_metric_model

# Sentence pairs per batch; the vectors of a large model then take 25 MB.
_BATCH_SIZE = 64
_KEY = "neural_metrics.bertscore"


class BertScore(ClipMeanMetric):
    """BERTScore, reported as mean F1 times 100; an empty hypothesis scores 0.

    Args:
        config: Model and layer.
        protocol: Normalization of hypotheses and references.
        device: Device for the model.
    """

    def __init__(
        self, config: BertScoreConfig, protocol: ScoringProtocol, device: torch.device | str
    ) -> None:
        super().__init__("bertscore", protocol)
        self._config = config
        self._device = device

    def format_settings(self) -> str:
        """Format the layer and the name of the model."""
        layer = "last" if self._config.layer is None else self._config.layer
        return f"f1|idf:no|layer:{layer}|model:{Path(self._config.model).name}"

    def score_pairs(self, pairs: Sequence[TextPair]) -> list[float]:
        """Compute the F1 of each pair, at most 100.

        Raises:
            InputError: If the model cannot be read or has fewer layers than requested.
        """
        config = self._config
        model, tokenizer = load_metric_model(AutoModel, config.model, _KEY, str(self._device))
        num_layers = int(model.config.num_hidden_layers)
        if config.layer is not None and config.layer > num_layers:
            raise InputError(
                f"`evaluation.{_KEY}.layer` is {config.layer}, but `{config.model}` has"
                f" {num_layers} layers"
            )
        scores: list[float] = []
        for start in range(0, len(pairs), _BATCH_SIZE):
            batch = pairs[start : start + _BATCH_SIZE]
            hypotheses, references = (
                _embed_tokens(model, tokenizer, texts, config.layer or num_layers)
                for texts in ([p.hypothesis for p in batch], [p.reference for p in batch])
            )
            scores += (100 * _compute_f1(hypotheses, references)).tolist()
        return scores


@torch.no_grad()
def _embed_tokens(
    model: Any, tokenizer: Any, texts: list[str], layer: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the unit vectors of the tokens of texts (B, L, D) and their mask (B, L).

    Special tokens, such as those at the beginning and the end of a text, are masked.
    """
    tokens = tokenizer(
        texts,
        padding=True,
        truncation=True,
        return_special_tokens_mask=True,
        return_tensors="pt",
    ).to(model.device)
    mask_BL = (tokens["attention_mask"] * (1 - tokens.pop("special_tokens_mask"))).bool()
    states = model(**tokens, output_hidden_states=True).hidden_states
    return torch.nn.functional.normalize(states[layer], dim=-1), mask_BL


def _compute_f1(
    hypotheses: tuple[torch.Tensor, torch.Tensor], references: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Return the F1 of pairs of texts (B,), 0 where a text has no tokens.

    Args:
        hypotheses: Unit vectors of tokens (B, L, D) and their mask (B, L).
        references: The same of the references.
    """
    (x_BLD, x_mask_BL), (y_BMD, y_mask_BM) = hypotheses, references
    both_BLM = x_mask_BL[:, :, None] & y_mask_BM[:, None, :]
    cosines_BLM = (x_BLD @ y_BMD.transpose(1, 2)).masked_fill(~both_BLM, -torch.inf)
    # Each token counts with its best match in the other text.
    best_BL = cosines_BLM.amax(2).masked_fill(~x_mask_BL, 0)
    best_BM = cosines_BLM.amax(1).masked_fill(~y_mask_BM, 0)
    precision_B = best_BL.sum(1) / x_mask_BL.sum(1).clamp(min=1)
    recall_B = best_BM.sum(1) / y_mask_BM.sum(1).clamp(min=1)
    # 0 / 0 where a text has no tokens; the next line replaces it.
    f1_B = 2 * precision_B * recall_B / (precision_B + recall_B)
    return torch.where(x_mask_BL.any(1) & y_mask_BM.any(1), f1_B, torch.zeros_like(f1_B))
