"""Recipe section `model.backbone`: the language model, its weights and its adapters.

There are two kinds of backbone, which read vectors and generate tokens: encoder-decoder models
(`seq2seq`) and decoder-only models (`causal`). Both can be pretrained or initialized from scratch,
and trained as a whole or with low-rank adapters.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, Tag, field_validator, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.parts import KindOrPart, PartConfig


class LoraConfig(StrictConfig):
    """Low-rank adapters (Hu et al., 2021), trained while the language model stays frozen."""

    rank: int = Field(64, ge=1, description="Rank of the adapters.")
    alpha: float = Field(16, gt=0, description="Adapter outputs are scaled by alpha / rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout on the adapter inputs.")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear",
        description="Layers with an adapter: `all-linear` for all linear layers except the head, or"
        " a list of name suffixes such as [q_proj, v_proj].",
    )
    quantize: Literal["none", "int8", "nf4"] = Field(
        "none",
        description="Keep the linear layers of the language model in 8 bits (`int8`, LLM.int8) or"
        " in 4 bits (`nf4`, QLoRA); needs CUDA and bitsandbytes (`kinesweep[qlora]`).",
    )

    @field_validator("targets")
    @classmethod
    def _check_not_empty(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Check that a list of targets has an element and no empty suffix."""
        if isinstance(value, tuple) and (not value or "" in value):
            raise ValueError("names no layers; leave it out, or list suffixes of layer names")
        return value


class _BackboneConfig(StrictConfig):
    """Settings shared by both kinds of backbone."""

    kind: str = Field(description="Kind of language model.")
    pretrained: str | None = Field(
        None, description="Local folder or hub id of a pretrained model; excludes `scratch`."
    )
    revision: str | None = Field(
        None,
        description="Branch, tag or commit of a hub model and its tokenizer; default: the newest.",
    )
    scratch: dict[str, Any] | None = Field(
        None,
        description="Random initialization: `architecture` (a Hugging Face model type such as"
        " `m2m_100`, `t5`, `llama`) and any key of its configuration.",
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Overrides the pretrained model's `dropout` (for T5: `dropout_rate`); attention"
        " and activation dropout stay. With `scratch`, set it there instead.",
    )
    lora: LoraConfig | None = Field(
        None, description="Low-rank adapters, trained instead of the language model's own weights."
    )

    @model_validator(mode="after")
    def _check_origin(self) -> "_BackboneConfig":
        """Check that exactly one of `pretrained` and `scratch` is set, with settings that fit it.

        A mapping `scratch` needs `architecture`; `dropout` and `revision` belong to `pretrained`.
        """
        # Exactly one origin of the weights: an empty `scratch` mapping counts as given.
        if (self.pretrained is None) == (self.scratch is None):
            raise ValueError("give either `pretrained` or `scratch`")
        if self.scratch is not None and not isinstance(self.scratch.get("architecture"), str):
            raise ValueError("`scratch` needs `architecture`, for example `m2m_100`")
        if self.scratch is not None and self.dropout is not None:
            raise ValueError(
                "`dropout` is for `pretrained`; a backbone from scratch has it in `scratch`, so set"
                " it there"
            )
        if self.scratch is not None and self.revision is not None:
            raise ValueError("`revision` is for `pretrained`; a backbone from scratch has none")
        return self


class BackbonePart(PartConfig):
    """Base class for settings of a backbone of another package.

    Attributes:
        is_causal: Whether the language model has a decoder only.
    """

    group: ClassVar[str] = "kinesweep.backbones"
    required: ClassVar[tuple[str, ...]] = (
        "create_model",
        "compute_logits",
        "embed_tokens",
        "generate",
    )
    is_causal: ClassVar[bool] = False

    pretrained: str | None = Field(
        None, description="Local folder or hub id of a pretrained model; none: random weights."
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub model.")
    lora: LoraConfig | None = Field(
        None, description="Low-rank adapters, trained instead of the language model's own weights."
    )

    @property
    def scratch(self) -> dict[str, Any] | None:
        """Return None: the part has its own keys for random weights."""
        return None

    @property
    def dropout(self) -> float | None:
        """Return None: the part has its own keys for dropout."""
        return None


class Seq2SeqBackboneConfig(_BackboneConfig):
    """Any Hugging Face encoder-decoder model, pretrained or from scratch."""

    kind: Literal["seq2seq"] = Field("seq2seq", description="Kind of language model.")
    encoder_pooling: Literal["none", "mean"] = Field(
        "none",
        description="`mean`: the decoder reads one vector, the mean of the encoder's output over"
        " time, as SONAR's decoder reads a sentence embedding.",
    )


class CausalBackboneConfig(_BackboneConfig):
    """Any Hugging Face decoder-only model, such as a Llama, pretrained or from scratch."""

    kind: Literal["causal"] = Field("causal", description="Kind of language model.")


BackboneConfig = Annotated[
    Annotated[Seq2SeqBackboneConfig, Tag("seq2seq")]
    | Annotated[CausalBackboneConfig, Tag("causal")]
    | BackbonePart,
    KindOrPart("seq2seq"),
]
AnyBackbone = Seq2SeqBackboneConfig | CausalBackboneConfig | BackbonePart


def is_causal(config: BackboneConfig) -> bool:
    """Return whether a language model has a decoder only, which continues the frames."""
    return config.is_causal if isinstance(config, BackbonePart) else config.kind == "causal"
