"""Settings of caption metrics as other packages compute them, for `evaluation.extra_metrics`."""

from typing import Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig


class CaptionMetricConfig(StrictConfig):
    """BLEU, ROUGE-L or CIDEr with the tokenizer and the rules of a published package."""

    kind: Literal["captions"] = Field(description="Metrics for captions, computed here.")
    name: Literal["bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider"] = Field(
        description="Metric."
    )
    package: Literal["nlg_metricverse", "coco_caption", "nlg_eval"] = Field(
        "nlg_metricverse",
        description="Package whose tokenizer and rules for several references are followed:"
        " `nlg_metricverse` 0.9.9, `coco_caption` (pycocoevalcap 1.2, language_evaluation), or"
        " `nlg_eval` 2.4, which has the rules of coco_caption for texts that are split at spaces."
        " `evaluation.protocol` is applied first.",
    )
    references: Literal["max", "mean"] | None = Field(
        None,
        description="ROUGE-L of nlg_metricverse with several references: the best one counts, or"
        " the mean of all; none: `max`.",
    )
    label: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Name of the score in results, objectives and plots; none: `PACKAGE_NAME`.",
    )
    scale: float = Field(
        100.0,
        gt=0,
        description="Factor of the score. The packages return shares for BLEU and ROUGE, and 0 to"
        " 10 for CIDEr.",
    )
    during_training: bool = Field(
        True, description="Compute the metric in evaluations during training too."
    )

    @model_validator(mode="after")
    def _check_references(self) -> "CaptionMetricConfig":
        """Check that the reduction over references has an effect."""
        # The other metrics fix how several references are reduced.
        has_choice = self.name == "rouge_l" and self.package == "nlg_metricverse"
        if self.references is not None and not has_choice:
            raise ValueError(
                "`references` has an effect only on `rouge_l` of `nlg_metricverse`; remove it"
            )
        return self

    @property
    def score_name(self) -> str:
        """Return the name of the score."""
        return self.label or f"{self.package}_{self.name}"

    @property
    def direction(self) -> Literal["max"]:
        """Return the direction in which the metric is better."""
        # All six count agreement with references.
        return "max"
