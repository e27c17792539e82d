"""Neural metrics: BERTScore and BLEURT, loaded from a local folder or by hub id.

They are computed when a result is scored, never during training, and do not rank models: the scores
depend on the metric's model, so its name is part of the signature. Only safetensors weights are
accepted. An empty hypothesis scores 0 with both metrics; the best of several references counts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from kinesweep.config.recipe.evaluation import BertScoreConfig, EvaluationConfig
from kinesweep.core.errors import InputError
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.evaluation.scoring import MetricScores
from kinesweep.evaluation.text_normalization import (
    format_protocol,
    normalize_hypothesis,
    normalize_text,
)

# Sentence pairs per batch; the vectors of a large model then take 25 MB.
_BATCH_SIZE = 64
SentencePair = tuple[str, str]
"""Hypothesis and reference."""


def compute_neural_scores(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    config: EvaluationConfig,
    device: torch.device | str = "cpu",
) -> MetricScores:
    """Compute BERTScore and BLEURT as selected in `evaluation.neural_metrics`.

    The metric models are loaded first; one that is named by its hub id may be downloaded.

    Args:
        hypotheses: Clip id → text.
        references: Clip id → reference sentences, for the same clips.
        config: Metric models and scoring protocol.
        device: Device for the metric models.

    Returns:
        Scores and signatures; empty if no metric is selected.

    Raises:
        InputError: If a metric model cannot be read or is of the wrong kind.
    """
    neural_config, protocol = config.neural_metrics, config.protocol_config
    pairs = {
        clip_id: [
            (normalize_hypothesis(hypothesis, protocol), normalize_text(reference, protocol))
            for reference in references[clip_id]
        ]
        for clip_id, hypothesis in sorted(hypotheses.items())
    }
    values, signatures = {}, {}
    if neural_config.bertscore is not None:
        bertscore_config = neural_config.bertscore
        values["bertscore"] = _average_best_scores(
            pairs, _compute_bertscore(pairs, bertscore_config, device)
        )
        layer = "last" if bertscore_config.layer is None else bertscore_config.layer
        signatures["bertscore"] = (
            f"f1|idf:no|layer:{layer}|model:{Path(bertscore_config.model).name}"
        )
    if neural_config.bleurt is not None:
        values["bleurt"] = _average_best_scores(
            pairs, _compute_bleurt(pairs, neural_config.bleurt, device)
        )
        signatures["bleurt"] = f"model:{Path(neural_config.bleurt).name}"
    prefix = f"protocol:{format_protocol(protocol)}"
    prefixed_signatures = {
        name: f"{prefix}|{name}|{signature}" for name, signature in signatures.items()
    }
    return MetricScores(values, prefixed_signatures)


def _average_best_scores(
    pairs: Mapping[str, Sequence[SentencePair]], scores: Mapping[SentencePair, float]
) -> float:
    """Return 100 times the mean over clips of the score of each clip's best reference.

    Args:
        pairs: Clip id → pairs of its hypothesis and each of its references.
        scores: Sentence pair → score; pairs with an empty hypothesis score 0 and may be missing.
    """
    best_scores = [
        # Empty hypotheses are not in `scores`: `_split_into_batches` leaves them out.
        max((scores[pair] if pair[0].strip() else 0.0) for pair in clip_pairs)
        for clip_pairs in pairs.values()
    ]
    return 100 * sum(best_scores) / len(best_scores)


def _split_into_batches(pairs: Mapping[str, Sequence[SentencePair]]) -> list[list[SentencePair]]:
    """Split the distinct pairs with non-empty hypotheses into batches, from short to long texts."""
    distinct_pairs = {
        pair for clip_pairs in pairs.values() for pair in clip_pairs if pair[0].strip()
    }
    # Similar lengths keep padding low. The pair itself breaks ties, because the order of a set is
    # not reproducible.
    sorted_pairs = sorted(distinct_pairs, key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
    return [sorted_pairs[i : i + _BATCH_SIZE] for i in range(0, len(sorted_pairs), _BATCH_SIZE)]


def _compute_bertscore(
    pairs: Mapping[str, Sequence[SentencePair]], config: BertScoreConfig, device: torch.device | str
) -> dict[SentencePair, float]:
    """Compute the BERTScore F1 of each distinct sentence pair with a non-empty hypothesis.

    Args:
        pairs: Clip id → pairs of its hypothesis and each of its references.
        config: Model and layer.
        device: Device for the model.

    Returns:
        Sentence pair → F1, at most 1.

    Raises:
        InputError: If the model cannot be read or has fewer layers than requested.
    """
    from torchmetrics.functional.text.bert import bert_score

    model, tokenizer = _load_metric_model(AutoModel, config.model, "bertscore", device)
    num_layers = int(model.config.num_hidden_layers)
    if config.layer is not None and config.layer > num_layers:
        raise InputError(
            f"`evaluation.neural_metrics.bertscore.layer` is {config.layer}, but `{config.model}`"
            f" has {num_layers} layers"
        )
    scores_by_pair: dict[SentencePair, float] = {}
    for batch in _split_into_batches(pairs):
        hypotheses, references = map(list, zip(*batch, strict=True))
        # torchmetrics pads every text to `max_length`; the longest one of the batch is enough.
        max_length = max(len(ids) for ids in tokenizer([*hypotheses, *references])["input_ids"])
        scores = bert_score(
            hypotheses,
            references,
            model=model,
            user_tokenizer=tokenizer,
            num_layers=config.layer,
            max_length=max_length,
            batch_size=_BATCH_SIZE,
            device=device,
        )
        # torchmetrics returns a scalar for a single pair.
        values: Any = torch.as_tensor(scores["f1"]).reshape(-1).tolist()
        scores_by_pair |= zip(batch, values, strict=True)
    return scores_by_pair


@torch.no_grad()
def _compute_bleurt(
    pairs: Mapping[str, Sequence[SentencePair]], model_name: str, device: torch.device | str
) -> dict[SentencePair, float]:
    """Compute the BLEURT score of each distinct sentence pair with a non-empty hypothesis.

    Args:
        pairs: Clip id → pairs of its hypothesis and each of its references.
        model_name: Local folder or hub id of a BLEURT checkpoint.
        device: Device for the model.

    Returns:
        Sentence pair → score, about 0 to 1.

    Raises:
        InputError: If the model cannot be read or is not a regression model.
    """
    model, tokenizer = _load_metric_model(
        AutoModelForSequenceClassification, model_name, "bleurt", device
    )
    if model.config.num_labels != 1:
        raise InputError(
            f"`evaluation.neural_metrics.bleurt` is `{model_name}`, which gives"
            f" {model.config.num_labels} numbers for each pair, but BLEURT gives one; use a BLEURT"
            " checkpoint"
        )
    scores_by_pair: dict[SentencePair, float] = {}
    for batch in _split_into_batches(pairs):
        hypotheses, references = map(list, zip(*batch, strict=True))
        # BLEURT expects the reference first.
        tokens = tokenizer(
            references, hypotheses, padding=True, truncation=True, return_tensors="pt"
        )
        values = model(**tokens.to(device)).logits.reshape(-1).tolist()
        scores_by_pair |= zip(batch, values, strict=True)
    return scores_by_pair


def _load_metric_model(
    model_class: Any, model_name: str, metric: str, device: torch.device | str
) -> tuple[Any, Any]:
    """Load a metric model in evaluation mode and its tokenizer, from a folder or from the hub.

    Args:
        model_class: Model class of transformers.
        model_name: Local folder or hub id.
        metric: Name of the metric in `evaluation.neural_metrics`, for error messages.
        device: Device for the model.

    Returns:
        The model and its tokenizer.

    Raises:
        InputError: If the model or its tokenizer cannot be read, or weights other than those of a
            pooler are missing.
    """
    try:
        with silence_transformers():
            tokenizer = AutoTokenizer.from_pretrained(model_name, trust_remote_code=False)
            model, loading_info = model_class.from_pretrained(
                model_name,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        # Messages of transformers span many lines; one line of 300 characters is enough.
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"`evaluation.neural_metrics.{metric}` is `{model_name}`, which cannot be read:"
            f" {reason}"
        ) from None
    # Missing weights would be random. A pooler may be missing, because BERTScore does not use it.
    missing_weights = sorted(key for key in loading_info["missing_keys"] if "pooler" not in key)
    if missing_weights:
        raise InputError(
            f"`evaluation.neural_metrics.{metric}` is `{model_name}`, but its weights lack"
            f" `{missing_weights[0]}`; use a model that was trained for this metric"
        )
    return model.to(device).eval(), tokenizer
