"""Recipe section `evaluation`: the metrics, and the normalization of texts before scoring."""

from typing import Literal

from pydantic import Field

from kinesweep.config.loading import StrictConfig

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


class BertScoreConfig(StrictConfig):
    """BERTScore (Zhang et al., 2020): cosine similarities of contextual token embeddings."""

    model: str = Field(description="Local folder or hub id of an encoder model such as BERT.")
    layer: int | None = Field(
        None, ge=1, description="Layer whose embeddings are compared; none: the last."
    )


class NeuralMetricsConfig(StrictConfig):
    """Neural metrics; computed for final results only, never during training."""

    bertscore: BertScoreConfig | None = Field(
        None, description="Settings of BERTScore, reported as mean F1 times 100."
    )
    bleurt: str | None = Field(
        None,
        description="Local folder or hub id of a BLEURT checkpoint that transformers loads as a"
        " sequence classifier with a single output; reported as the mean times 100.",
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
        description="Neural metrics BERTScore and BLEURT, which need weights.",
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
