"""Recipe part `model`: encoder, backbone and tokenizer."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kinesweep.core.config import Frozen


class LinearEncoderConfig(Frozen):
    """Standardise → norm → linear → dropout → norm → activation; all but linear is optional."""

    kind: Literal["linear"] = Field("linear", description="Encoder of a stream.")
    standardize: bool = Field(
        True, description="Subtract each feature's mean over train, divide by its deviation."
    )
    norm_in: bool = Field(True, description="Normalise the features of a frame first.")
    norm_out: bool = Field(True, description="Normalise after the linear layer.")
    activation: Literal["relu", "none"] = Field("relu", description="Last step.")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="Share of values dropped after the linear layer."
    )


class Seq2SeqBackboneConfig(Frozen):
    """Any Hugging Face encoder-decoder, pretrained or from scratch."""

    kind: Literal["seq2seq"] = Field("seq2seq", description="Kind of language model.")
    pretrained: str | None = Field(
        None, description="Local folder or hub id of a saved model; instead of `scratch`."
    )
    scratch: dict[str, Any] | None = Field(
        None,
        description="`architecture` (a Hugging Face model type such as `m2m_100`, `bart`, `t5`)"
        " and any key of its configuration.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "Seq2SeqBackboneConfig":
        if (self.pretrained is None) == (self.scratch is None):
            raise ValueError("give either `pretrained` or `scratch`")
        if self.scratch is not None and not isinstance(self.scratch.get("architecture"), str):
            raise ValueError("`scratch` needs `architecture`, for example `m2m_100`")
        return self


class PretrainedTokenizerConfig(Frozen):
    """The tokenizer that was saved with the pretrained backbone."""

    kind: Literal["pretrained"] = Field("pretrained", description="Where the tokenizer comes from.")
    new_tokens: tuple[str, ...] = Field((), description="Tokens to add, for example `__asl__`.")


class TrainedTokenizerConfig(Frozen):
    """A tokenizer trained on the texts and prompts of the training split."""

    kind: Literal["train"] = Field("train", description="Where the tokenizer comes from.")
    algorithm: Literal["unigram", "bpe", "word"] = Field("unigram", description="How text is cut.")
    size: int = Field(8000, ge=32, description="Pieces at the most, special tokens included.")
    new_tokens: tuple[str, ...] = Field(
        (), description="Tokens that are never cut, such as `__asl__`."
    )


TokenizerConfig = Annotated[
    PretrainedTokenizerConfig | TrainedTokenizerConfig, Field(discriminator="kind")
]
EncoderConfig = LinearEncoderConfig
BackboneConfig = Seq2SeqBackboneConfig


class ModelConfig(Frozen):
    """Encoder for each stream, then a language model."""

    encoder: EncoderConfig = Field(
        LinearEncoderConfig(), description="From features to the backbone's width."
    )
    backbone: BackboneConfig = Field(description="The language model.")
    tokenizer: TokenizerConfig = Field(TrainedTokenizerConfig(), description="From text to tokens.")

    @model_validator(mode="after")
    def _tokenizer_fits(self) -> "ModelConfig":
        if self.tokenizer.kind == "pretrained" and self.backbone.pretrained is None:
            raise ValueError(
                "tokenizer `pretrained` needs `backbone.pretrained`;"
                " a backbone from scratch needs `{kind: train}`"
            )
        return self
