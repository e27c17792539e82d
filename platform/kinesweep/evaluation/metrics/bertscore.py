"""BERTScore: F1 of the best matches between contextual token embeddings of two texts.

It is computed here, because torchmetrics 1.9.0 sorts hypotheses and references by their own lengths
and restores neither order, so it compares a text with the reference of another one. With the
variant `bert_score`, scores equal those of the package bert-score 0.3.13 within 1e-5 for models of
the types BERT and RoBERTa, with inverse document frequencies and baselines too.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModel

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.scores.bertscore import BertScoreConfig
from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics.base import (
    ClipMeanMetric,
    MetricResult,
    References,
    TextPair,
    Texts,
    check_same_clips,
)
from kinesweep.evaluation.metrics.bertscore_baseline import Baseline, read_baseline
from kinesweep.evaluation.metrics.model_loading import load_metric_model

# Sentence pairs per batch; the vectors of a large model then take 25 MB.
_BATCH_SIZE = 64
_KEY = "neural_metrics.bertscore"
# The package adds a space for these types; their vocabularies mark words that follow one.
_SPACED_TOKENIZERS = ("GPT2", "Roberta", "Deberta")
_PART_NAMES = ("bertscore_precision", "bertscore_recall", "bertscore")


class _Embeddings(NamedTuple):
    """The tokens of a batch of texts.

    Attributes:
        x_BLD: Unit vectors of tokens.
        mask_BL: Tokens that can be matched.
        weight_BL: Weight of each token in the mean over a text; 0 for special tokens and padding.
    """

    x_BLD: torch.Tensor
    mask_BL: torch.Tensor
    weight_BL: torch.Tensor


class BertScore(ClipMeanMetric):
    """BERTScore, reported as mean F1 times 100; an empty hypothesis scores 0 before rescaling.

    Args:
        config: Model, layer, weights and baseline.
        protocol: Normalization of hypotheses and references.
        device: Device for the model.
    """

    def __init__(
        self, config: BertScoreConfig, protocol: ScoringProtocol, device: torch.device | str
    ) -> None:
        super().__init__("bertscore", protocol)
        self._config = config
        self._device = device
        # Token id → weight, and the weight of tokens that no reference has; None: all weigh 1.
        self._idf: tuple[dict[int, float], float] | None = None
        # Pair → precision, recall and F1 of the last scoring.
        self._parts: dict[TextPair, tuple[float, ...]] = {}

    def format_settings(self) -> str:
        """Format the layer, the name of the model, weights, baseline and variant."""
        config = self._config
        layer = "last" if config.layer is None else config.layer
        idf = "references" if config.idf else "no"
        settings = f"f1|idf:{idf}|layer:{layer}|model:{Path(config.model).name}"
        if config.rescale_with_baseline:
            settings += f"|baseline:{self._baseline.format_values()}"
        is_default = config.effective_variant == "tokens"
        return settings if is_default else f"{settings}|variant:{config.effective_variant}"

    def compute(self, hypotheses: Texts, references: References) -> MetricResult:
        """Compute the corpus score, and precision and recall if the recipe asks for them."""
        result = super().compute(hypotheses, references)
        if not self._config.precision_recall:
            return result
        parts = {name: self._average_part(name, hypotheses, references) for name in _PART_NAMES[:2]}
        return replace(result, parts=parts)

    def compute_clip_scores(self, hypotheses: Texts, references: References) -> dict[str, float]:
        """Compute clip id → F1; token weights come from all references that are passed."""
        check_same_clips(hypotheses, references)
        self._parts = {}
        if self._config.idf:
            texts = [text for some in self.normalize(hypotheses, references)[1] for text in some]
            self._idf = self._compute_idf(texts)
        if self._config.rescale_with_baseline:
            self._empty_score = 100 * self._baseline.rescale((0.0, 0.0, 0.0))[2]
        return super().compute_clip_scores(hypotheses, references)

    def score_pairs(self, pairs: Sequence[TextPair]) -> list[float]:
        """Compute the F1 of each pair, at most 100.

        Raises:
            InputError: If the model cannot be read or has fewer layers than requested.
        """
        for start in range(0, len(pairs), _BATCH_SIZE):
            batch = pairs[start : start + _BATCH_SIZE]
            hypotheses = self._embed_tokens([pair.hypothesis for pair in batch])
            references = self._embed_tokens([pair.reference for pair in batch])
            parts_B3 = torch.stack(_match_tokens(hypotheses, references), dim=1)
            for pair, parts in zip(batch, parts_B3.tolist(), strict=True):
                rescaled = (
                    self._baseline.rescale(parts) if self._config.rescale_with_baseline else parts
                )
                self._parts[pair] = tuple(100 * value for value in rescaled)
        return [self._parts[pair][2] for pair in pairs]

    @cached_property
    def _model(self) -> tuple[Any, Any, int]:
        """Return the model, its tokenizer and the layer that is compared.

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
        return model, tokenizer, config.layer or num_layers

    @cached_property
    def _baseline(self) -> Baseline:
        """Return the baseline of the layer.

        Raises:
            InputError: If the file cannot be read or has no such layer.
        """
        assert self._config.baseline is not None
        return read_baseline(Path(self._config.baseline), self._model[2])

    def _average_part(self, name: str, hypotheses: Texts, references: References) -> float:
        """Return the mean of precision or recall over clips, each with its best reference."""
        index = _PART_NAMES.index(name)
        empty = 0.0
        if self._config.rescale_with_baseline:
            empty = 100 * self._baseline.rescale((0.0, 0.0, 0.0))[index]
        texts, references_by_clip = self.normalize(hypotheses, references)
        values = [
            max(self._parts.get(TextPair(text, r), (empty,) * 3)[index] for r in some)
            for text, some in zip(texts, references_by_clip, strict=True)
        ]
        return sum(values) / len(values)

    def _tokenize(self, texts: Sequence[str]) -> Any:
        """Return the padded tokens of texts, with a mask of special tokens."""
        tokenizer = self._model[1]
        if self._config.effective_variant == "bert_score":
            is_spaced = type(tokenizer).__name__.startswith(_SPACED_TOKENIZERS)
            stripped = [text.strip() for text in texts]
            texts = [f" {text}" if is_spaced and text else text for text in stripped]
        return tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )

    def _compute_idf(self, references: Sequence[str]) -> tuple[dict[int, float], float]:
        """Return token id → inverse document frequency, and that of tokens in no reference."""
        tokens = self._tokenize(references)
        counts: Counter[int] = Counter()
        for ids, mask in zip(tokens["input_ids"], tokens["attention_mask"], strict=True):
            counts.update(set(ids[mask.bool()].tolist()))
        # One more than the number of texts and occurrences, so that nothing is divided by zero.
        num_texts = len(references) + 1
        weights = {token: math.log(num_texts / (count + 1)) for token, count in counts.items()}
        return weights, math.log(num_texts)

    @torch.no_grad()
    def _embed_tokens(self, texts: Sequence[str]) -> _Embeddings:
        """Return the unit vectors of the tokens of texts, their mask and their weights."""
        model, _, layer = self._model
        tokens = self._tokenize(texts).to(model.device)
        is_special_BL = tokens.pop("special_tokens_mask").bool()
        mask_BL = tokens["attention_mask"].bool()
        text_mask_BL = mask_BL & ~is_special_BL
        states = model(**tokens, output_hidden_states=True).hidden_states
        weight_BL = text_mask_BL.float()
        if self._idf is not None:
            weights, default = self._idf
            ids_BL = tokens["input_ids"].tolist()
            idf = [[weights.get(token, default) for token in row] for row in ids_BL]
            weight_BL = weight_BL * torch.tensor(idf, device=weight_BL.device)
        # The package lets tokens match special ones, which are never counted themselves.
        matches_special = self._config.effective_variant == "bert_score"
        x_BLD = torch.nn.functional.normalize(states[layer], dim=-1)
        return _Embeddings(x_BLD, mask_BL if matches_special else text_mask_BL, weight_BL)


def _match_tokens(hypotheses: _Embeddings, references: _Embeddings) -> tuple[torch.Tensor, ...]:
    """Return precision, recall and F1 of pairs of texts (B,), 0 where a text has no weight."""
    both_BLM = hypotheses.mask_BL[:, :, None] & references.mask_BL[:, None, :]
    cosines_BLM = hypotheses.x_BLD @ references.x_BLD.transpose(1, 2)
    cosines_BLM = cosines_BLM.masked_fill(~both_BLM, -torch.inf)
    # Each token counts with its best match in the other text.
    precision_B = _average_matches(cosines_BLM.amax(2), hypotheses.weight_BL)
    recall_B = _average_matches(cosines_BLM.amax(1), references.weight_BL)
    has_weight_B = hypotheses.weight_BL.any(1) & references.weight_BL.any(1)
    # 0 / 0 where a text has no tokens; the next lines replace it.
    f1_B = 2 * precision_B * recall_B / (precision_B + recall_B)
    zeros_B = torch.zeros_like(f1_B)
    return (
        torch.where(has_weight_B, precision_B, zeros_B),
        torch.where(has_weight_B, recall_B, zeros_B),
        torch.where(has_weight_B, f1_B, zeros_B),
    )


def _average_matches(best_BL: torch.Tensor, weight_BL: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean of the best matches of tokens (B,); not a number without weight."""
    # Padding has no match (-inf), and -inf times a weight of 0 would not be a number.
    best_BL = best_BL.masked_fill(weight_BL == 0, 0)
    return (best_BL * weight_BL).sum(1) / weight_BL.sum(1)
