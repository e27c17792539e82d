"""Metrics that a recipe can name: neural ones, and those of evaluate and torchmetrics.

Each metric has a direction, which sweeps and the choice of the best checkpoint follow.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field, field_validator, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.parts import KindOrPart, MetricPart
from kinesweep.config.recipe.objectives.text_alignment import RETRIEVAL_METRICS
from kinesweep.config.recipe.scores.bertscore import BertScoreConfig
from kinesweep.config.recipe.scores.captions import CaptionMetricConfig
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.scores import ALIGNMENT_LOSSES, COSTS, TASK_ACCURACIES

MetricMode = Literal["max", "min"]
ScoreName = Literal[
    "bleu",
    "bleu1",
    "bleu2",
    "bleu3",
    "chrf",
    "chrfpp",
    "ter",
    "rouge1",
    "rouge2",
    "rouge",
    "meteor",
    "cider",
]
NEURAL_METRICS = ("bertscore", "bleurt", "comet")
TOKEN_METRICS = ("token_loss", "token_accuracy")
"""Scores of the model itself, which every evaluation has."""
RESERVED_LABELS = frozenset(
    {*get_args(ScoreName), *NEURAL_METRICS, *TOKEN_METRICS, *COSTS, *TASK_ACCURACIES}
    | {"bertscore_precision", "bertscore_recall", *ALIGNMENT_LOSSES, *RETRIEVAL_METRICS}
    | {"step", "samples", "loss", "epoch", "evaluation_s"}
)
"""Names that logs and result files already use."""


class CometConfig(StrictConfig):
    """COMET (Rei et al., 2020): a model that reads source text, translation and reference."""

    model: str = Field(
        description="Hub id such as `Unbabel/wmt22-comet-da`, or a local folder with `hparams.yaml`"
        " and `checkpoints/model.ckpt`. Models without references (`Unbabel/wmt22-cometkiwi-da`)"
        " read the source and the translation only."
    )
    source: Literal["gloss", "encoder_prompt", "signal", "table"] = Field(
        "gloss",
        description="Source text of a clip: its glosses, the text before its frames"
        " (`encoder_prompt`), the text that is translated (`signal`, for `source.kind: text_tsv`),"
        " or `source_table`. A clip without a source text is an error.",
    )
    source_table: str | None = Field(
        None,
        description="TSV file with the columns `id` and `source`, the source text of every scored"
        " clip; only for `source: table`.",
    )
    batch_size: int = Field(16, ge=1, description="Sentences per batch of the model.")

    @model_validator(mode="after")
    def _check_table(self) -> "CometConfig":
        """Check that a table of source texts is named exactly if it is used."""
        if (self.source == "table") != (self.source_table is not None):
            raise ValueError("`source: table` and `source_table` belong together")
        return self


class NeuralMetricsConfig(StrictConfig):
    """Neural metrics; computed for final results, and during training only if asked for."""

    bertscore: BertScoreConfig | None = Field(
        None, description="Settings of BERTScore, reported as mean F1 times 100."
    )
    bleurt: str | None = Field(
        None,
        description="Local folder or hub id of a BLEURT checkpoint: one in the format of the"
        " package bleurt-pytorch (`lucadiliello/BLEURT-20`), or one that transformers loads as a"
        " sequence classifier with a single output; reported as the mean times 100.",
    )
    comet: CometConfig | None = Field(
        None,
        description="Settings of COMET, reported as the mean times 100. Its package runs in an"
        " environment of its own, which is created at the first use.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the metrics that are set."""
        return tuple(name for name in NEURAL_METRICS if getattr(self, name) is not None)


class TorchmetricsFacts(NamedTuple):
    """Facts about a text metric of torchmetrics, which are known without importing it.

    Attributes:
        function: Name of its function in `torchmetrics.functional.text`.
        mode: Direction in which it is better.
        targets: Whether it takes all references of a clip, or one.
        scale: Factor that brings the score to 0 to 100, like other scores of the platform.
    """

    function: str
    mode: MetricMode
    targets: Literal["all", "one"]
    scale: float = 100.0


TORCHMETRICS_TEXT: dict[str, TorchmetricsFacts] = {
    "BERTScore": TorchmetricsFacts("bert_score", "max", "one"),
    "BLEUScore": TorchmetricsFacts("bleu_score", "max", "all"),
    "CHRFScore": TorchmetricsFacts("chrf_score", "max", "all"),
    "CharErrorRate": TorchmetricsFacts("char_error_rate", "min", "one"),
    # A number of characters, not a share.
    "EditDistance": TorchmetricsFacts("edit_distance", "min", "one", 1.0),
    "ExtendedEditDistance": TorchmetricsFacts("extended_edit_distance", "min", "all"),
    # The direction is that of most values of `information_measure`, see `direction`.
    "InfoLM": TorchmetricsFacts("infolm", "min", "one", 1.0),
    "MatchErrorRate": TorchmetricsFacts("match_error_rate", "min", "one"),
    "ROUGEScore": TorchmetricsFacts("rouge_score", "max", "all"),
    # Already on a scale of 0 to 100.
    "SQuAD": TorchmetricsFacts("squad", "max", "all", 1.0),
    "SacreBLEUScore": TorchmetricsFacts("sacre_bleu_score", "max", "all"),
    "TranslationEditRate": TorchmetricsFacts("translation_edit_rate", "min", "all"),
    "WordErrorRate": TorchmetricsFacts("word_error_rate", "min", "one"),
    "WordInfoLost": TorchmetricsFacts("word_information_lost", "min", "one"),
    # The library's class says that lower is better, but equal texts score 1 and others less.
    "WordInfoPreserved": TorchmetricsFacts("word_information_preserved", "max", "one"),
}
"""Class in `torchmetrics.text` → facts. `Perplexity` reads logits and is not a metric of texts."""
_NEGATIVE_MEASURES = ("kl_divergence", "alpha_divergence")
"""Values of InfoLM's `information_measure`, the first one its default, that are at most 0."""
_CLASS_BY_FUNCTION = {facts.function: name for name, facts in TORCHMETRICS_TEXT.items()}


class _ExtraMetricConfig(StrictConfig):
    """Settings that metrics of all libraries share."""

    label: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Name of the score in results, objectives and plots; none: made from `name`.",
    )
    arguments: dict[str, Any] = Field(
        {}, description="Arguments of the metric, by their names in its library."
    )
    key: str | None = Field(
        None,
        description="Key of the score, for metrics that return several values, such as"
        " `rougeL_fmeasure`.",
    )
    scale: float | None = Field(
        None,
        gt=0,
        description="Factor of the score. Reports show few decimals, so scores should be on a scale"
        " of 0 to 100; none: 100 for metrics of torchmetrics that are shares, otherwise 1.",
    )
    during_training: bool = Field(
        True, description="Compute the metric in evaluations during training too."
    )


class TorchmetricsConfig(_ExtraMetricConfig):
    """A text metric of torchmetrics."""

    kind: Literal["torchmetrics"] = Field(description="Library of the metric.")
    name: str = Field(
        description="Class in `torchmetrics.text` such as `CharErrorRate`, or function in"
        " `torchmetrics.functional.text` such as `char_error_rate`, with or without the module."
    )
    mode: MetricMode | None = Field(
        None, description="Direction in which the metric is better; none: that of the library."
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        """Return the name of the metric's class."""
        name = value.removeprefix("torchmetrics.text.")
        name = name.removeprefix("torchmetrics.functional.text.")
        name = _CLASS_BY_FUNCTION.get(name, name)
        if name in ("Perplexity", "perplexity"):
            raise ValueError("reads logits, not texts; the exponential of `token_loss` is the same")
        if name not in TORCHMETRICS_TEXT:
            hint = suggest_closest_word(name, list(TORCHMETRICS_TEXT))
            raise ValueError(
                f"`{value}` is not a text metric of torchmetrics{hint}; allowed:"
                f" {', '.join(TORCHMETRICS_TEXT)}"
            )
        return name

    @property
    def score_name(self) -> str:
        """Return the name of the score."""
        return self.label or TORCHMETRICS_TEXT[self.name].function

    @property
    def factor(self) -> float:
        """Return the factor of the score."""
        return TORCHMETRICS_TEXT[self.name].scale if self.scale is None else self.scale

    @property
    def direction(self) -> MetricMode:
        """Return the direction in which the metric is better."""
        measure = self.arguments.get("information_measure", _NEGATIVE_MEASURES[0])
        if self.mode is None and self.name == "InfoLM" and measure in _NEGATIVE_MEASURES:
            return "max"
        return self.mode or TORCHMETRICS_TEXT[self.name].mode


class EvaluateMetricConfig(_ExtraMetricConfig):
    """A metric of the library evaluate, whose script is code and runs as such."""

    kind: Literal["evaluate"] = Field(description="Library of the metric.")
    name: str = Field(
        description="Local folder that holds `FOLDER.py`, or the name of a metric on the hub such"
        " as `wer` or `someone/metric`."
    )
    mode: MetricMode = Field(
        description="Direction in which the metric is better; the library does not tell."
    )
    config_name: str | None = Field(None, description="Configuration of the metric, if it has any.")
    revision: str | None = Field(
        None, description="Commit or tag on the hub; none: that of the library's version."
    )
    level: Literal["corpus", "segment"] = Field(
        "corpus",
        description="`corpus`: one call for all clips; a ranking then calls the metric again for"
        " each of 200 resamples. `segment`: one call a clip, and their mean is the score.",
    )
    trust_remote_code: bool = Field(
        False,
        description="Allow to download and run the script of a metric on the hub. Not needed for a"
        " local folder. Removed from the recipes of bundles, so that nobody runs it unasked.",
    )

    @property
    def score_name(self) -> str:
        """Return the name of the score."""
        last_part = self.name.rstrip("/").rpartition("/")[2].lower()
        return self.label or "".join(c if c.isalnum() else "_" for c in last_part)

    @property
    def factor(self) -> float:
        """Return the factor of the score."""
        return 1.0 if self.scale is None else self.scale

    @property
    def direction(self) -> MetricMode:
        """Return the direction in which the metric is better."""
        return self.mode


ExtraMetricConfig = Annotated[
    TorchmetricsConfig | EvaluateMetricConfig | CaptionMetricConfig | MetricPart, KindOrPart()
]


def check_score_names(metrics: Sequence[ExtraMetricConfig]) -> None:
    """Check that the scores of extra metrics have names of their own.

    Raises:
        ValueError: If a name is that of another score.
    """
    taken_names = set(RESERVED_LABELS)
    for metric in metrics:
        if metric.score_name in taken_names:
            raise ValueError(
                f"the score of `{metric.name}` would be called `{metric.score_name}`, like another"
                " score; give it a `label`"
            )
        taken_names.add(metric.score_name)
