"""Metadata of a model card: the YAML front matter by which the Hub finds and compares models.

`huggingface_hub` writes and reads it, so it has the form that the Hub accepts. Scores are those of
the run, each with the signature of its metric.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kinesweep.config.recipe.export import CardConfig

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

LIBRARY_NAME = "kinesweep"
MOTION_TASK = "motion-to-text"
"""Name of the task in transformers' `pipeline` and among the tags of a card."""
# The closest task among those that the Hub knows; it has none for motion.
_HUB_TASK = "translation"


def find_base_model(pretrained: str | None) -> str | None:
    """Return the name of a pretrained language model if it is one on the Hub, else None.

    Args:
        pretrained: `model.backbone.pretrained` of a recipe with absolute local paths. A name
            without an owner may be a folder of another machine, so it counts as none.
    """
    if pretrained is None:
        return None
    parts = pretrained.split("/")
    return pretrained if len(parts) == 2 and all(parts) and parts[0] not in (".", "~") else None


def build_card_metadata(
    card: CardConfig,
    model_name: str,
    scores: Mapping[str, Mapping[str, float]],
    signatures: Mapping[str, Mapping[str, str]],
    store_fingerprint: str,
    *,
    base_model: str | None,
    has_adapters: bool,
) -> "ModelCardData":
    """Build the metadata of a model card.

    Args:
        card: Statements of the recipe.
        model_name: Name of the model in the list of scores.
        scores: Split → metric → score.
        signatures: Split → metric → signature.
        store_fingerprint: Fingerprint of the features that were scored.
        base_model: Name on the Hub of the model that training started from; None without one.
        has_adapters: Whether only adapters of the base model were trained.
    """
    from huggingface_hub import ModelCardData

    relation = None if base_model is None else ("adapter" if has_adapters else "finetune")
    # With several data sets, a score is that of none of them alone.
    dataset = card.datasets[0] if len(card.datasets) == 1 else model_name
    return ModelCardData(
        language=list(card.language) or None,
        license=card.license,
        license_name=card.license_name,
        license_link=card.license_link,
        library_name=LIBRARY_NAME,
        pipeline_tag=_HUB_TASK,
        tags=[LIBRARY_NAME, MOTION_TASK, *card.tags],
        datasets=list(card.datasets) or None,
        base_model=base_model,
        base_model_relation=relation,
        model_name=model_name,
        eval_results=_list_results(scores, signatures, dataset, store_fingerprint) or None,
    )


def _list_results(
    scores: Mapping[str, Mapping[str, float]],
    signatures: Mapping[str, Mapping[str, str]],
    dataset: str,
    store_fingerprint: str,
) -> "list[EvalResult]":
    """List all finite scores in the form of the Hub's `model-index`.

    Args:
        scores: Split → metric → score.
        signatures: Split → metric → signature.
        dataset: Name of the data set on the Hub, or of the recipe.
        store_fingerprint: Fingerprint of the features.
    """
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=_HUB_TASK,
            task_name="Motion to text",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split=split,
            dataset_args={"features": store_fingerprint},
            metric_type=metric,
            metric_name=f"{metric} ({split})",
            metric_value=round(float(score), 3),
            metric_args=_get_metric_args(signatures[split].get(metric)),
        )
        for split, split_scores in scores.items()
        for metric, score in split_scores.items()
        # The Hub reads the metadata as JSON, which has neither infinity nor NaN.
        if math.isfinite(score)
    ]


def _get_metric_args(signature: str | None) -> dict[str, Any] | None:
    """Return the settings of a metric, of which its signature is the whole; None without one."""
    return {"signature": signature} if signature else None


def format_card(metadata: "ModelCardData", text: str) -> str:
    """Format a model card: the metadata as YAML front matter, then the text.

    Args:
        metadata: Metadata of the card.
        text: Markdown without front matter.
    """
    from huggingface_hub import ModelCard

    content = f"---\n{metadata.to_yaml()}\n---\n\n{text}"
    # Read again, so that no card is written that the Hub would read differently.
    assert ModelCard(content).data.to_dict() == metadata.to_dict()
    return content
