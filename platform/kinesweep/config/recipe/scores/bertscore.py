"""Settings of BERTScore, in the section `evaluation.neural_metrics`."""

from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig

BertScoreVariant = Literal["tokens", "bert_score"]


class BertScoreConfig(StrictConfig):
    """BERTScore (Zhang et al., 2020): cosine similarities of contextual token embeddings."""

    model: str = Field(description="Local folder or hub id of an encoder model such as BERT.")
    layer: int | None = Field(
        None,
        ge=1,
        description="Layer whose embeddings are compared; none: the last. The package bert-score"
        " uses layer 17 of roberta-large and layer 9 of bert-base-uncased and"
        " bert-base-multilingual-cased.",
    )
    idf: bool = Field(
        False,
        description="Weight tokens by their inverse document frequencies in the references of the"
        " split that is scored.",
    )
    rescale_with_baseline: bool = Field(
        False,
        description="Rescale scores linearly, so that the baseline becomes 0 and 1 stays 1. Needs"
        " `baseline`.",
    )
    baseline: str | None = Field(
        None,
        description="File of baselines with the header `LAYER,P,R,F`, as in the folder"
        " `rescale_baseline` of the package bert-score (`en/roberta-large.tsv`).",
    )
    variant: BertScoreVariant | None = Field(
        None,
        description="`bert_score`: as in the package of that name, where tokens also match the"
        " special tokens of the other text, and texts for byte-level tokenizers begin with a"
        " space. `tokens`: special tokens are left out. None: `bert_score` if `idf` or"
        " `rescale_with_baseline` is set, whose published values need it, otherwise `tokens`.",
    )
    precision_recall: bool = Field(
        False,
        description="Report precision and recall too, as `bertscore_precision` and"
        " `bertscore_recall`.",
    )

    @model_validator(mode="after")
    def _check_baseline(self) -> "BertScoreConfig":
        """Check that a file of baselines is named exactly if it is used."""
        # A baseline that is not used would be an ignored setting, and rescaling needs its values.
        if self.rescale_with_baseline != (self.baseline is not None):
            raise ValueError("`rescale_with_baseline: true` and `baseline` belong together")
        return self

    @property
    def effective_variant(self) -> BertScoreVariant:
        """Return the variant that is computed."""
        if self.variant is not None:
            return self.variant
        return "bert_score" if self.idf or self.rescale_with_baseline else "tokens"


def remove_unset_bertscore_keys(values: dict[str, Any] | None) -> None:
    """Remove keys of BERTScore that earlier versions did not have and that are not set, in place.

    Args:
        values: Plain values of the section; None if the metric is not used.
    """
    if values is None:
        return
    for key in ("idf", "rescale_with_baseline", "baseline", "variant", "precision_recall"):
        # Recipes that were written before these keys existed keep their hash.
        if not values[key]:
            del values[key]
