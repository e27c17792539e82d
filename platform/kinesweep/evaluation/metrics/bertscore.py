"""BERTScore: F1 of the best matches between contextual token embeddings of two texts."""

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
        from torchmetrics.functional.text.bert import bert_score

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
            hypotheses = [pair.hypothesis for pair in batch]
            references = [pair.reference for pair in batch]
            # torchmetrics pads every text to `max_length`; the longest one of the batch is enough.
            max_length = max(len(ids) for ids in tokenizer([*hypotheses, *references])["input_ids"])
            result = bert_score(
                hypotheses,
                references,
                model=model,
                user_tokenizer=tokenizer,
                num_layers=config.layer,
                max_length=max_length,
                batch_size=_BATCH_SIZE,
                device=self._device,
            )
            # torchmetrics returns a scalar for a single pair.
            values: Any = torch.as_tensor(result["f1"]).reshape(-1)
            scores += (100 * values).tolist()
        return scores
