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
from kinesweep.core.hf_logging import quiet_transformers
from kinesweep.evaluation.scoring import Scores
from kinesweep.evaluation.text_normalization import normalize, protocol_name

# Sentence pairs per batch; the vectors of a large model then take 25 MB.
_AT_ONCE = 64
Pair = tuple[str, str]
"""Hypothesis and reference."""


def learned_scores(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    config: EvaluationConfig,
    device: torch.device | str = "cpu",
) -> Scores:
    """Compute the metrics selected in `evaluation.neural_metrics`; empty if none is selected.

    Args:
        hypotheses: Clip id → text.
        references: Clip id → reference sentences.
        config: Models and scoring protocol.
        device: Device for the metric models.

    Raises:
        InputError: If a model cannot be read or is of the wrong kind.
    """
    learned, protocol = config.neural_metrics, config.protocol_config
    pairs = {
        key: [
            (normalize(said, protocol), normalize(wanted, protocol)) for wanted in references[key]
        ]
        for key, said in sorted(hypotheses.items())
    }
    values, signatures = {}, {}
    if learned.bertscore is not None:
        asked = learned.bertscore
        values["bertscore"] = _mean_of_best(pairs, _bertscore(pairs, asked, device))
        layer = "last" if asked.layer is None else asked.layer
        signatures["bertscore"] = f"f1|idf:no|layer:{layer}|model:{Path(asked.model).name}"
    if learned.bleurt is not None:
        values["bleurt"] = _mean_of_best(pairs, _bleurt(pairs, learned.bleurt, device))
        signatures["bleurt"] = f"model:{Path(learned.bleurt).name}"
    head = f"protocol:{protocol_name(protocol)}"
    named = {name: f"{head}|{name}|{rest}" for name, rest in signatures.items()}
    return Scores(values, named)


def _mean_of_best(pairs: Mapping[str, Sequence[Pair]], scores: Mapping[Pair, float]) -> float:
    """Return the mean over clips of the best reference's score, times 100."""
    best = [
        max((scores[pair] if pair[0].strip() else 0.0) for pair in of_clip)
        for of_clip in pairs.values()
    ]
    return 100 * sum(best) / len(best)


def _chunks(pairs: Mapping[str, Sequence[Pair]]) -> list[list[Pair]]:
    """Return batches of distinct pairs with non-empty hypotheses, sorted by length."""
    distinct = {pair for of_clip in pairs.values() for pair in of_clip if pair[0].strip()}
    # Similar lengths keep padding low. The pair itself breaks ties, because the order of a set is
    # not reproducible.
    ordered = sorted(distinct, key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
    return [ordered[i : i + _AT_ONCE] for i in range(0, len(ordered), _AT_ONCE)]


def _bertscore(
    pairs: Mapping[str, Sequence[Pair]], config: BertScoreConfig, device: torch.device | str
) -> dict[Pair, float]:
    """Compute the BERTScore F1 of each distinct pair."""
    from torchmetrics.functional.text.bert import bert_score

    model, tokenizer = _load(AutoModel, config.model, "bertscore", device)
    depth = int(model.config.num_hidden_layers)
    if config.layer is not None and config.layer > depth:
        raise InputError(
            f"`evaluation.neural_metrics.bertscore.layer` is {config.layer}, but `{config.model}`"
            f" has {depth} layers"
        )
    found: dict[Pair, float] = {}
    for chunk in _chunks(pairs):
        said, wanted = map(list, zip(*chunk, strict=True))
        # torchmetrics pads every text to `max_length`; the longest one of the batch is enough.
        longest = max(len(ids) for ids in tokenizer([*said, *wanted])["input_ids"])
        scores = bert_score(
            said,
            wanted,
            model=model,
            user_tokenizer=tokenizer,
            num_layers=config.layer,
            max_length=longest,
            batch_size=_AT_ONCE,
            device=device,
        )
        # torchmetrics returns a scalar for a single pair.
        values: Any = torch.as_tensor(scores["f1"]).reshape(-1).tolist()
        found |= zip(chunk, values, strict=True)
    return found


@torch.no_grad()
def _bleurt(
    pairs: Mapping[str, Sequence[Pair]], name: str, device: torch.device | str
) -> dict[Pair, float]:
    """Compute the BLEURT score of each distinct pair."""
    model, tokenizer = _load(AutoModelForSequenceClassification, name, "bleurt", device)
    if model.config.num_labels != 1:
        raise InputError(
            f"`evaluation.neural_metrics.bleurt` is `{name}`, which gives {model.config.num_labels}"
            " numbers for each pair, but BLEURT gives one; use a BLEURT checkpoint"
        )
    found: dict[Pair, float] = {}
    for chunk in _chunks(pairs):
        said, wanted = map(list, zip(*chunk, strict=True))
        # BLEURT expects the reference first.
        tokens = tokenizer(wanted, said, padding=True, truncation=True, return_tensors="pt")
        values = model(**tokens.to(device)).logits.reshape(-1).tolist()
        found |= zip(chunk, values, strict=True)
    return found


def _load(kind: Any, name: str, key: str, device: torch.device | str) -> tuple[Any, Any]:
    """Load a metric model in evaluation mode and its tokenizer; all weights must be present.

    Args:
        kind: Model class of transformers.
        name: Local folder or hub id.
        key: Name of the metric in `evaluation.neural_metrics`, for error messages.
        device: Device for the model.
    """
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            model, info = kind.from_pretrained(
                name,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        # Messages of transformers span many lines; one line of 300 characters is enough.
        why = " ".join(str(error).split())[:300]
        raise InputError(
            f"`evaluation.neural_metrics.{key}` is `{name}`, which cannot be read: {why}"
        ) from None
    # Missing weights would be random. A pooler may be missing, because BERTScore does not use it.
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        raise InputError(
            f"`evaluation.neural_metrics.{key}` is `{name}`, but its weights lack `{missing[0]}`;"
            " use a model that was trained for this metric"
        )
    return model.to(device).eval(), tokenizer
