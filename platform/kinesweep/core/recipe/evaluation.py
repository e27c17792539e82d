"""Recipe part `evaluation`: what is scored, and what is done to texts before."""

from typing import Literal

from pydantic import Field

from kinesweep.core.config import Frozen

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


class Protocol(Frozen):
    """What is done to texts before they are scored, alike for hypotheses and references."""

    case: Literal["keep", "lower"] = Field("keep", description="Upper and lower case.")
    punctuation: Literal["keep", "drop"] = Field("keep", description="All of Unicode's.")
    final_period: Literal["keep", "drop"] = Field(
        "keep", description="One full stop at a text's end; worth 0.9 BLEU on PHOENIX."
    )
    tokenize: Literal["13a", "intl", "char", "zh", "none"] = Field(
        "13a",
        description="sacreBLEU's tokenizer, for BLEU, ROUGE, METEOR and CIDEr; `none` splits at"
        " spaces.",
    )


PROTOCOLS: dict[str, Protocol] = {
    "raw": Protocol(),
    # Its texts are lower case and cut into words, each with a full stop at its end.
    "phoenix": Protocol(case="lower", final_period="drop", tokenize="none"),
    # Chinese is scored by characters, as CSL-Daily's authors do.
    "csl_char": Protocol(tokenize="char"),
}
"""Name → parts."""


class SearchEvaluationConfig(Frozen):
    """Cheaper decoding while training goes on."""

    num_beams: int = Field(1, ge=1, description="Beams during training and search.")
    max_clips: int | None = Field(
        512, ge=1, description="Validation clips that are decoded during training; none: all."
    )


class BertScoreConfig(Frozen):
    """BERTScore (Zhang et al. 2020): cosines between a language model's vectors of both texts."""

    model: str = Field(description="Local folder or hub id of an encoder such as a BERT.")
    layer: int | None = Field(None, ge=1, description="Whose vectors are compared; none: the last.")


class LearnedConfig(Frozen):
    """Metrics that are models; computed for results alone, never during training."""

    bertscore: BertScoreConfig | None = Field(None, description="Mean F1, times 100.")
    bleurt: str | None = Field(
        None,
        description="Local folder or hub id of a BLEURT checkpoint that transformers loads as a"
        " sequence classifier with one number; its mean, times 100.",
    )


class EvaluationConfig(Frozen):
    """What is scored, and under which protocol."""

    metrics: tuple[ScoreName, ...] = Field(
        ("bleu", "chrf"),
        description="`bleu` is BLEU-4, `bleu1` to `bleu3` stop at shorter n-grams; `chrfpp` is"
        " chrF++; `ter` counts edits, less is better; `rouge` is ROUGE-L; `meteor` is METEOR of"
        " nltk, English; `cider` is CIDEr-D, 0 to 1000, its n-grams weighed by the references of"
        " the clips that are scored.",
    )
    wordnet: str | None = Field(
        None,
        description="Local folder of WordNet (nltk's `corpora/wordnet`, unpacked), for METEOR's"
        " synonyms; none: words and stems alone.",
    )
    protocol: Literal["raw", "phoenix", "csl_char"] | Protocol = Field(
        "raw",
        description="Text treatment, alike for hypotheses and references; `raw`: none. Or its"
        " parts.",
    )
    max_frames: int = Field(
        16384, ge=1, description="Frames in an evaluation batch, padding included."
    )
    learned: LearnedConfig = Field(
        LearnedConfig(), description="BERTScore and BLEURT, from weights at hand."
    )
    search: SearchEvaluationConfig = Field(
        SearchEvaluationConfig(), description="During training and search."
    )

    @property
    def treatment(self) -> Protocol:
        """The protocol's parts."""
        named = isinstance(self.protocol, str)
        return PROTOCOLS[str(self.protocol)] if named else self.protocol  # type: ignore[return-value]
