"""Metrics that are models themselves: BERTScore and BLEURT, from weights at hand.

They are computed where a result is scored, never during training, and rank nothing: what they say
depends on which model was asked, so its name stands in the signature. Weights are safetensors only.
An empty hypothesis scores 0 with both; of several references the best counts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.evaluation import BertScoreConfig, EvaluationConfig
from kinesweep.core.silence import silent
from kinesweep.training.protocol import name_of, treat
from kinesweep.training.scoring import Scores

_AT_ONCE = 64
"""Sentences beside each other: 25 MB of a large model's vectors."""
Pair = tuple[str, str]
"""Hypothesis and reference."""


def learned_scores(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    config: EvaluationConfig,
    device: torch.device | str = "cpu",
) -> Scores:
    """Scores by the models that `evaluation.learned` names; none where it names none.

    Args:
        hypotheses: clip id → text.
        references: clip id → sentences.
        config: models and protocol.
        device: where the models run.

    Raises:
        InputError: a model cannot be read or is of another kind.
    """
    learned, protocol = config.learned, config.treatment
    pairs = {
        key: [(treat(said, protocol), treat(wanted, protocol)) for wanted in references[key]]
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
    head = f"protocol:{name_of(protocol)}"
    named = {name: f"{head}|{name}|{rest}" for name, rest in signatures.items()}
    return Scores(values, named)


def _mean_of_best(pairs: Mapping[str, Sequence[Pair]], scores: Mapping[Pair, float]) -> float:
    """The mean over clips of the best reference's score, times 100."""
    best = [
        max((scores[pair] if pair[0].strip() else 0.0) for pair in of_clip)
        for of_clip in pairs.values()
    ]
    return 100 * sum(best) / len(best)


def _chunks(pairs: Mapping[str, Sequence[Pair]]) -> list[list[Pair]]:
    """Distinct pairs with something in them, alike in length, some at a time."""
    distinct = {pair for of_clip in pairs.values() for pair in of_clip if pair[0].strip()}
    ordered = sorted(distinct, key=lambda pair: (len(pair[0]) + len(pair[1]), pair))
    return [ordered[i : i + _AT_ONCE] for i in range(0, len(ordered), _AT_ONCE)]


def _bertscore(
    pairs: Mapping[str, Sequence[Pair]], config: BertScoreConfig, device: torch.device | str
) -> dict[Pair, float]:
    from torchmetrics.functional.text.bert import bert_score

    model, tokenizer = _load(AutoModel, config.model, "bertscore", device)
    depth = int(model.config.num_hidden_layers)
    if config.layer is not None and config.layer > depth:
        raise InputError(
            f"`evaluation.learned.bertscore.layer` is {config.layer}, but `{config.model}` has"
            f" {depth} layers"
        )
    found: dict[Pair, float] = {}
    for chunk in _chunks(pairs):
        said, wanted = map(list, zip(*chunk, strict=True))
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
        # One pair gives a scalar.
        values: Any = torch.as_tensor(scores["f1"]).reshape(-1).tolist()
        found |= zip(chunk, values, strict=True)
    return found


@torch.no_grad()
def _bleurt(
    pairs: Mapping[str, Sequence[Pair]], name: str, device: torch.device | str
) -> dict[Pair, float]:
    model, tokenizer = _load(AutoModelForSequenceClassification, name, "bleurt", device)
    if model.config.num_labels != 1:
        raise InputError(
            f"`evaluation.learned.bleurt` is `{name}`, which gives"
            f" {model.config.num_labels} numbers a pair; BLEURT gives one"
        )
    found: dict[Pair, float] = {}
    for chunk in _chunks(pairs):
        said, wanted = map(list, zip(*chunk, strict=True))
        # BLEURT reads the reference first.
        tokens = tokenizer(wanted, said, padding=True, truncation=True, return_tensors="pt")
        values = model(**tokens.to(device)).logits.reshape(-1).tolist()
        found |= zip(chunk, values, strict=True)
    return found


def _load(kind: Any, name: str, key: str, device: torch.device | str) -> tuple[Any, Any]:
    """A model in evaluation mode, complete, and its tokenizer."""
    try:
        with silent():
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            model, info = kind.from_pretrained(
                name,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        why = " ".join(str(error).split())[:300]
        raise InputError(
            f"`evaluation.learned.{key}` is `{name}`, which cannot be read: {why}"
        ) from None
    # A pooler is not part of what BERTScore looks at.
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        raise InputError(
            f"`evaluation.learned.{key}` is `{name}`, where `{missing[0]}` is missing: it was not"
            " trained as such a metric"
        )
    return model.to(device).eval(), tokenizer
