"""Section `objective.text`: the text encoder of the CLIP objective, its tokenizer and projection.

The encoder is any bidirectional Hugging Face text encoder, or the encoder of an encoder-decoder.
SSVP-SLT uses a pretrained T5 (`google/t5-v1_1-base`) with mean pooling.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.model import (
    FolderTokenizerConfig,
    PretrainedTokenizerConfig,
    TrainedTokenizerConfig,
)
from kinesweep.config.recipe.model.graph import EncoderLoraConfig

TextPooling = Literal["mean", "max", "first", "last", "pooler"]
Projection = Literal["mlp", "linear", "none"]


class TextLoraConfig(EncoderLoraConfig):
    """Low-rank adapters, trained beside the frozen weights of the text encoder."""

    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear",
        description="Layers with an adapter: `all-linear` for all linear layers, or a list of name"
        " suffixes such as [q, v].",
    )

    @model_validator(mode="after")
    def _check_targets(self) -> "TextLoraConfig":
        """Check that a list of targets has an element and no empty suffix."""
        if self.targets != "all-linear" and (not self.targets or "" in self.targets):
            raise ValueError("`targets` names no layers; leave it out, or list suffixes of names")
        return self


class TextTowerConfig(StrictConfig):
    """A Hugging Face text encoder with pooling and projection."""

    pretrained: str | None = Field(
        None, description="Local folder or hub id of a pretrained model; excludes `scratch`."
    )
    revision: str | None = Field(
        None,
        description="Branch, tag or commit of a hub model and its tokenizer; default: the newest.",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the weights in `pretrained`; recorded when a run starts.",
    )
    scratch: dict[str, Any] | None = Field(
        None,
        description="Random initialization: `architecture` (a Hugging Face model type such as"
        " `bert` or `t5`) and any key of its configuration.",
    )
    tokenizer: Annotated[
        PretrainedTokenizerConfig | TrainedTokenizerConfig | FolderTokenizerConfig,
        Field(discriminator="kind"),
    ] = Field(
        PretrainedTokenizerConfig(),
        description="The tokenizer: `pretrained` was saved with the model, `train` learns one from"
        " the training texts.",
    )
    max_tokens: int = Field(
        128,
        ge=2,
        description="Longest text in tokens, with special tokens; the rest of a longer text is cut"
        " off, which is counted and reported.",
    )
    pooling: TextPooling = Field(
        "mean",
        description="Pooling of the tokens into one vector: `mean` or `max` over the tokens,"
        " `first`, `last`, or `pooler`, the trained pooling layer of a BERT.",
    )
    projection: Projection = Field(
        "mlp",
        description="Projection to the embedding: `mlp` (two linear layers with GELU, without"
        " biases), `linear`, or `none`, which needs equal widths.",
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Overrides every dropout of the pretrained encoder; with `scratch`, set its own"
        " keys there instead.",
    )
    freeze: bool = Field(
        False, description="Keep the encoder as it is; only the projection is trained."
    )
    lora: TextLoraConfig | None = Field(
        None, description="Low-rank adapters, trained instead of the encoder's own weights."
    )

    @model_validator(mode="after")
    def _check_origin(self) -> "TextTowerConfig":
        """Check that exactly one of `pretrained` and `scratch` is set, with settings that fit."""
        # An empty mapping `scratch` counts as given.
        if (self.pretrained is None) == (self.scratch is None):
            raise ValueError("give either `pretrained` or `scratch`")
        if self.scratch is None:
            return self
        if not isinstance(self.scratch.get("architecture"), str):
            raise ValueError("`scratch` needs `architecture`, for example `bert` or `t5`")
        for name in ("dropout", "revision", "sha256"):
            if getattr(self, name) is not None:
                raise ValueError(f"`{name}` is for `pretrained`; an encoder from scratch has none")
        if self.tokenizer.kind == "pretrained":
            raise ValueError(
                "`tokenizer: {kind: pretrained}` is for `pretrained`; an encoder from scratch needs"
                " `kind: train` or `kind: folder`"
            )
        if self.freeze or self.lora is not None:
            raise ValueError(
                "`freeze` and `lora` keep the weights of the encoder, but one from scratch has only"
                " random weights; leave them out"
            )
        return self

    @model_validator(mode="after")
    def _check_frozen(self) -> "TextTowerConfig":
        """Check that a frozen encoder has no adapters."""
        if self.freeze and self.lora is not None:
            raise ValueError(
                "`freeze` would freeze the adapters of `lora` too; everything but the adapters is"
                " frozen anyway: set one of them"
            )
        return self
