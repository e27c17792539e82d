"""Recipe part `model.backbone`: the language model, where it comes from, and its adapters.

Two kinds read vectors and write tokens: an encoder-decoder (`seq2seq`) and a decoder alone
(`causal`). Both come pretrained or from scratch, whole or with low-rank adapters.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from kinesweep.core.config import Frozen


class LoraConfig(Frozen):
    """Low-rank adapters (Hu et al., 2021): the language model stays, small matrices learn."""

    rank: int = Field(64, ge=1, description="Width of an adapter.")
    alpha: float = Field(16, gt=0, description="What adapters add is scaled by alpha / rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Of what enters an adapter.")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear",
        description="Layers with an adapter: all linear ones but the head, or ends of their names,"
        " such as [q_proj, v_proj].",
    )
    quantize: Literal["none", "nf4"] = Field(
        "none",
        description="`nf4`: hold the language model's linear layers in 4 bits (QLoRA); needs CUDA"
        " and bitsandbytes (`kinesweep[qlora]`).",
    )

    @field_validator("targets")
    @classmethod
    def _some(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, tuple) and (not value or "" in value):
            raise ValueError("names no layers; leave it out, or give ends of their names")
        return value


class _BackboneConfig(Frozen):
    """What both kinds have."""

    kind: str = Field(description="Kind of language model.")
    pretrained: str | None = Field(
        None, description="Local folder or hub id of a saved model; instead of `scratch`."
    )
    revision: str | None = Field(
        None,
        description="Branch, tag or commit of a hub id, of its tokenizer too; default: its newest.",
    )
    scratch: dict[str, Any] | None = Field(
        None,
        description="`architecture` (a Hugging Face model type such as `m2m_100`, `t5`, `llama`)"
        " and any key of its configuration.",
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Instead of the saved model's own `dropout` (of a T5: `dropout_rate`); that of"
        " attention and activations stays. From scratch: a key of `scratch`.",
    )
    lora: LoraConfig | None = Field(
        None, description="Adapters, which learn instead of the language model's own weights."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "_BackboneConfig":
        if (self.pretrained is None) == (self.scratch is None):
            raise ValueError("give either `pretrained` or `scratch`")
        if self.scratch is not None and not isinstance(self.scratch.get("architecture"), str):
            raise ValueError("`scratch` needs `architecture`, for example `m2m_100`")
        if self.scratch is not None and self.dropout is not None:
            raise ValueError(
                "`dropout` is for `pretrained`; a backbone from scratch has it in `scratch`"
            )
        if self.scratch is not None and self.revision is not None:
            raise ValueError("`revision` is for `pretrained`; a backbone from scratch has none")
        return self


class Seq2SeqBackboneConfig(_BackboneConfig):
    """Any Hugging Face encoder-decoder, pretrained or from scratch."""

    kind: Literal["seq2seq"] = Field("seq2seq", description="Kind of language model.")


class CausalBackboneConfig(_BackboneConfig):
    """Any Hugging Face decoder that stands alone, such as a Llama, pretrained or from scratch."""

    kind: Literal["causal"] = Field("causal", description="Kind of language model.")


def _kind_of(value: object) -> str:
    """The `kind` of a backbone; `seq2seq` where none is given."""
    if isinstance(value, Mapping):
        return str(value.get("kind", "seq2seq"))
    return str(getattr(value, "kind", ""))


BackboneConfig = Annotated[
    Annotated[Seq2SeqBackboneConfig, Tag("seq2seq")]
    | Annotated[CausalBackboneConfig, Tag("causal")],
    Discriminator(_kind_of),
]
AnyBackbone = Seq2SeqBackboneConfig | CausalBackboneConfig
