"""Recipe section `evaluation`: the metrics, and the normalization of texts before scoring."""

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.metrics import (
    RESERVED_LABELS,
    TOKEN_METRICS,
    ExtraMetricConfig,
    MetricMode,
    NeuralMetricsConfig,
    ScoreName,
    check_score_names,
)
from kinesweep.config.recipe.prompt import SideTaskName, TaskEvaluationConfig
from kinesweep.config.recipe.scores.bertscore import remove_unset_bertscore_keys
from kinesweep.config.recipe.scores.judges import (
    JudgeConfig,
    check_judge_names,
    remove_unhashed_judge_keys,
)
from kinesweep.core.scores import is_lower_better, name_task_accuracy


class ScoringProtocol(StrictConfig):
    """The text normalization before scoring, applied equally to hypotheses and references."""

    case: Literal["keep", "lower"] = Field("keep", description="Keep the case or lowercase texts.")
    punctuation: Literal["keep", "drop"] = Field(
        "keep", description="Keep or remove all Unicode punctuation."
    )
    final_period: Literal["keep", "drop"] = Field(
        "keep",
        description="Keep or remove one full stop at the end of a text; a difference of 0.9 BLEU on"
        " PHOENIX.",
    )
    tokenize: Literal[
        "auto",
        "13a",
        "intl",
        "zh",
        "ja-mecab",
        "ko-mecab",
        "char",
        "fsw",
        "flores200",
        "none",
    ] = Field(
        "auto",
        description="sacreBLEU tokenizer used for all metrics that count words; `none` splits at"
        " spaces. `auto` chooses by the script of the training texts: `13a` for scripts with"
        " spaces, `zh` for Chinese, `ja-mecab` for Japanese, `char` for other scripts without"
        " spaces such as Thai, and `fsw`, which splits signs into symbols and positions, for"
        " SignWriting in FSW.",
    )


SCORING_PROTOCOLS: dict[str, ScoringProtocol] = {
    # Words by the script of the texts; for scripts with spaces these are those of `13a`.
    "raw": ScoringProtocol(),
    # PHOENIX texts are lowercase and already tokenized, each with a full stop at its end.
    "phoenix": ScoringProtocol(case="lower", final_period="drop", tokenize="none"),
    # The authors of CSL-Daily score Chinese by characters.
    "csl_char": ScoringProtocol(tokenize="char"),
}
"""Protocol name → its settings."""


class TrainingEvaluationConfig(StrictConfig):
    """Cheaper decoding for the evaluations during training."""

    num_beams: int = Field(1, ge=1, description="Beam size during training and search.")
    max_clips: int | None = Field(
        512, ge=1, description="Number of validation clips decoded during training; none: all."
    )
    neural_metrics: bool = Field(
        False,
        description="Compute `evaluation.neural_metrics` in every evaluation during training, so"
        " that they can select checkpoints and be objectives of a sweep. Their models then stay in"
        " memory beside the trained one, and COMET's is loaded at each evaluation.",
    )


class EvaluationConfig(StrictConfig):
    """Metrics and the protocol under which they are computed."""

    metrics: tuple[ScoreName, ...] = Field(
        ("bleu", "chrf"),
        description="Metrics to compute. `bleu` is BLEU-4, `bleu1` to `bleu3` use shorter n-grams;"
        " `chrfpp` is chrF++; `ter` is the translation edit rate, where less is better; `rouge` is"
        " ROUGE-L; `meteor` is nltk's METEOR for English; `cider` is CIDEr-D from 0 to 1000, with"
        " n-gram weights from the references of the scored clips.",
    )
    wordnet: str | None = Field(
        None,
        description="Local folder of WordNet (nltk's `corpora/wordnet`, unpacked) for the synonyms"
        " of METEOR; none: match words and stems only.",
    )
    protocol: Literal["raw", "phoenix", "csl_char"] | ScoringProtocol = Field(
        "raw",
        description="Text normalization, applied equally to hypotheses and references: the name of"
        " a protocol (`raw`: none), or its settings. Forms of the same Unicode character are always"
        " unified.",
    )
    max_frames: int = Field(
        16384, ge=1, description="Frames per evaluation batch, including padding."
    )
    neural_metrics: NeuralMetricsConfig = Field(
        NeuralMetricsConfig(),
        description="Neural metrics BERTScore, BLEURT and COMET, which need weights.",
    )
    extra_metrics: tuple[ExtraMetricConfig, ...] = Field(
        (),
        description="Metrics of the libraries evaluate and torchmetrics. The script of an evaluate"
        " metric is code that runs on this machine.",
    )
    judges: tuple[JudgeConfig, ...] = Field(
        (),
        description="Language models that grade texts (G-Eval, sport indicators); for final results"
        " only, unless a judge says otherwise.",
    )
    tasks: dict[SideTaskName, TaskEvaluationConfig] = Field(
        {},
        description="Side task → its scoring. The model answers the questions of `prompt` about"
        " clips of the split, and the share of right answers is a score, `{task}_accuracy`.",
    )
    during_training: TrainingEvaluationConfig = Field(
        TrainingEvaluationConfig(), description="Evaluation during training and search."
    )

    @property
    def protocol_config(self) -> ScoringProtocol:
        """Return the settings of `protocol`, looked up if it is the name of a protocol."""
        # A named protocol stays a name in the recipe, and its settings are looked up here.
        is_named = isinstance(self.protocol, str)
        return SCORING_PROTOCOLS[str(self.protocol)] if is_named else self.protocol  # type: ignore[return-value]

    @field_validator("extra_metrics")
    @classmethod
    def _check_extra_metrics(
        cls, value: tuple[ExtraMetricConfig, ...]
    ) -> tuple[ExtraMetricConfig, ...]:
        """Check that the scores of extra metrics have names of their own."""
        check_score_names(value)
        return value

    @model_validator(mode="after")
    def _check_judges(self) -> "EvaluationConfig":
        """Check that the scores of judges have names of their own."""
        check_judge_names(self.judges, {*self.metric_names, *RESERVED_LABELS})
        return self

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Return the names of the scores of texts that are computed without a judge."""
        extra_names = [metric.score_name for metric in self.extra_metrics]
        return (*self.metrics, *self.neural_metrics.names, *extra_names)

    @property
    def metric_modes(self) -> dict[str, MetricMode]:
        """Return the direction of every score of texts and answers of final results, by name."""
        names = (*self.metrics, *self.neural_metrics.names)
        modes: dict[str, MetricMode] = {
            name: "min" if is_lower_better(name) else "max" for name in names
        }
        modes |= {metric.score_name: metric.direction for metric in self.extra_metrics}
        modes |= {name: "max" for judge in self.judges for name in judge.score_names}
        return modes | {name_task_accuracy(task): "max" for task in self.tasks}

    @property
    def training_metrics(self) -> tuple[str, ...]:
        """Return the names of the scores that every evaluation during training has."""
        neural_names = self.neural_metrics.names if self.during_training.neural_metrics else ()
        extra_names = [m.score_name for m in self.extra_metrics if m.during_training]
        grades = [name for j in self.judges if j.during_training for name in j.score_names]
        task_names = [name_task_accuracy(task) for task in self.training_tasks]
        return (
            *(*TOKEN_METRICS, *self.metrics, *neural_names, *extra_names),
            *(*grades, *task_names),
        )

    @property
    def training_tasks(self) -> dict[SideTaskName, TaskEvaluationConfig]:
        """Return the side tasks that every evaluation during training scores.

        Each is limited to the number of clips that are translated in such an evaluation.
        """
        limit = self.during_training.max_clips
        return {
            task: config.model_copy(
                update={"max_clips": min(filter(None, (config.max_clips, limit)), default=None)}
            )
            for task, config in self.tasks.items()
            if config.during_training
        }

    def explain_missing_metric(self, name: str) -> str | None:
        """Return why evaluations during training lack a score; None if they have it."""
        if name in self.training_metrics:
            return None
        if name in self.neural_metrics.names:
            return (
                f"`{name}` is computed for final results only; set"
                " `evaluation.during_training.neural_metrics: true`"
            )
        if name in map(name_task_accuracy, self.tasks):
            task = name.removesuffix(name_task_accuracy(""))
            return (
                f"`{name}` is computed for final results only; set"
                f" `evaluation.tasks.{task}.during_training: true`"
            )
        if name in self.metric_modes:
            section = "extra_metrics" if name in self.metric_names else "judges"
            return (
                f"`{name}` is computed for final results only; set `during_training: true` in its"
                f" entry of `evaluation.{section}`"
            )
        return (
            f"`{name}` is not in `evaluation.metrics`, `evaluation.neural_metrics`,"
            " `evaluation.extra_metrics` or `evaluation.tasks`"
        )

    def check_source_kinds(self, kinds: Collection[str]) -> None:
        """Check that the inputs are texts if COMET reads them as source texts.

        Args:
            kinds: Kinds of the recipe's corpora.

        Raises:
            ValueError: If a corpus has other inputs.
        """
        comet = self.neural_metrics.comet
        others = sorted(set(kinds) - {"text_tsv"})
        if comet is not None and comet.source == "signal" and others:
            raise ValueError(
                "`evaluation.neural_metrics.comet.source: signal` needs `source.kind: text_tsv`,"
                f" whose inputs are texts, not {' and '.join(others)}; use gloss, encoder_prompt or"
                " table"
            )

    def is_lower_better(self, name: str) -> bool:
        """Return whether lower values of a score, or of a cost, are better."""
        mode = self.metric_modes.get(name)
        return is_lower_better(name) if mode is None else mode == "min"

    def select_training_metrics(self) -> "EvaluationConfig":
        """Return the section without the metrics that are computed for final results only."""
        metrics = tuple(metric for metric in self.extra_metrics if metric.during_training)
        keeps_neural = self.during_training.neural_metrics
        neural = self.neural_metrics if keeps_neural else NeuralMetricsConfig()
        judges = tuple(judge for judge in self.judges if judge.during_training)
        return self.model_copy(
            update={"neural_metrics": neural, "extra_metrics": metrics, "judges": judges}
        )

    def complete_hashed_values(self, values: dict[str, Any]) -> None:
        """Change plain values of this section for the hash of a configuration, in place.

        Keys that are not used are removed, so that hashes from before they existed stay valid.
        """
        values["protocol"] = self.hashed_protocol
        if self.neural_metrics.comet is None:
            del values["neural_metrics"]["comet"]
        remove_unset_bertscore_keys(values["neural_metrics"]["bertscore"])
        if self.judges:
            remove_unhashed_judge_keys(values["judges"])
        for key in ("extra_metrics", "judges", "tasks"):
            if not values[key]:
                del values[key]
        if not self.during_training.neural_metrics:
            del values["during_training"]["neural_metrics"]

    @property
    def hashed_protocol(self) -> object:
        """Return the plain values of `protocol` for the hash of a configuration."""
        if isinstance(self.protocol, str):
            return self.protocol
        values = self.protocol.model_dump(mode="json")
        if self.protocol.tokenize == "auto":
            # The former default, which `auto` chooses for scripts with spaces. A run's identity
            # names any other choice, because that follows from the texts.
            values["tokenize"] = "13a"
        return values
