"""Recipe sections `model.encoder` and `model.encoders`: encoders of feature streams.

The frame encoders below accept any features. The graph encoders, which need a skeleton, have a
module of their own (`config.recipe.model.graph`).
"""

from typing import Annotated, Literal

from pydantic import Field, Tag, field_validator, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.parts import EncoderPart, KindOrPart
from kinesweep.config.recipe.model.graph import (
    GraphEncoderConfig,
    StagcnEncoderConfig,
    StgcnEncoderConfig,
)
from kinesweep.config.recipe.model.part_graph import PartGraphEncoderConfig


class FrameEncoderConfig(StrictConfig):
    """Settings shared by all frame encoders: standardization → velocities → norm, and dropout."""

    standardize: bool = Field(
        True, description="Standardize each feature with its statistics on the training split."
    )
    velocity: bool = Field(
        False, description="Add to each feature its difference from the previous frame."
    )
    norm_in: bool = Field(True, description="Apply layer normalization to the input of each frame.")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="Dropout probability after each hidden layer."
    )


class _FramewiseEncoderConfig(FrameEncoderConfig):
    """Settings shared by encoders that process each frame independently."""

    norm_out: bool = Field(True, description="Normalize after the last linear layer.")
    downsample: int = Field(
        1, ge=1, description="Consecutive frames averaged into one output vector; 1: no averaging."
    )


class LinearEncoderConfig(_FramewiseEncoderConfig):
    """Standardize → norm → linear → gain → dropout → norm → activation; most steps are optional."""

    kind: Literal["linear"] = Field("linear", description="Kind of encoder.")
    gain: bool = Field(False, description="Learn a scale for each output dimension.")
    activation: Literal["relu", "none"] = Field("relu", description="Activation of the output.")


class MlpEncoderConfig(_FramewiseEncoderConfig):
    """Norm → (linear → activation → dropout) for each hidden layer → linear → norm."""

    kind: Literal["mlp"] = Field("mlp", description="Kind of encoder.")
    hidden: tuple[int, ...] = Field((512,), min_length=1, description="Widths of hidden layers.")
    activation: Literal["relu", "gelu"] = Field("relu", description="Hidden activation function.")

    @field_validator("hidden")
    @classmethod
    def _check_positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        """Check that all hidden widths are at least 1."""
        if min(value) < 1:
            raise ValueError("contains a width below 1")
        return value


class AdapterEncoderConfig(_FramewiseEncoderConfig):
    """Norm → linear, plus a residual bottleneck (norm → down → ReLU → dropout → up) → norm."""

    kind: Literal["adapter"] = Field("adapter", description="Kind of encoder.")
    bottleneck: int = Field(64, ge=1, description="Width of the bottleneck.")


class CnnEncoderConfig(FrameEncoderConfig):
    """Norm → linear → (temporal convolution → GLU → dropout) for each kernel."""

    kind: Literal["cnn"] = Field("cnn", description="Kind of encoder.")
    channels: int = Field(256, ge=1, description="Width between the convolutions.")
    kernels: tuple[int, ...] = Field(
        (3, 3), min_length=1, description="Kernel size of each convolution, in frames; odd."
    )
    strides: tuple[int, ...] = Field(
        (2, 2), min_length=1, description="Stride of each convolution, in frames."
    )

    @model_validator(mode="after")
    def _check_kernels(self) -> "CnnEncoderConfig":
        """Check that `kernels` and `strides` have equal lengths and that their values are valid.

        Kernels must be odd, and no stride may exceed its kernel.
        """
        if len(self.kernels) != len(self.strides):
            raise ValueError("`kernels` and `strides` must have the same number of values")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError("`kernels` must be odd: 1, 3, 5 …")
        # A stride beyond the kernel would skip frames entirely.
        if any(
            stride < 1 or stride > kernel
            for stride, kernel in zip(self.strides, self.kernels, strict=True)
        ):
            raise ValueError("a stride must be at least 1 and no longer than its kernel")
        return self


class TokensEncoderConfig(StrictConfig):
    """Embeddings of a stream of token ids (`features: {kind: text}`): norm → dropout."""

    kind: Literal["tokens"] = Field("tokens", description="Kind of encoder.")
    embeddings: Literal["own", "backbone"] = Field(
        "own",
        description="`own`: a table of its own, which is learned; `backbone`: the input embeddings"
        " of the backbone, whose tokenizer must be that of the stream.",
    )
    norm_out: bool | None = Field(
        None,
        description="Normalize the vectors. Default: true for `own` embeddings; false for those of"
        " the `backbone`, which it reads without any change.",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout probability of the vectors.")

    @property
    def should_normalize(self) -> bool:
        """Return whether the vectors are normalized."""
        return self.embeddings == "own" if self.norm_out is None else self.norm_out

    @property
    def standardize(self) -> bool:
        """Return False: ids have no statistics."""
        return False


EncoderConfig = Annotated[
    Annotated[LinearEncoderConfig, Tag("linear")]
    | Annotated[MlpEncoderConfig, Tag("mlp")]
    | Annotated[AdapterEncoderConfig, Tag("adapter")]
    | Annotated[CnnEncoderConfig, Tag("cnn")]
    | Annotated[StgcnEncoderConfig, Tag("stgcn")]
    | Annotated[StagcnEncoderConfig, Tag("stagcn")]
    | Annotated[PartGraphEncoderConfig, Tag("part_graph")]
    | Annotated[TokensEncoderConfig, Tag("tokens")]
    | EncoderPart,
    KindOrPart("linear"),
]


def reads_statistics(config: EncoderConfig) -> bool:
    """Return whether an encoder standardizes its input with statistics of the training split.

    One of another package does unless its `standardize` is false.
    """
    return bool(getattr(config, "standardize", True))


def reads_skeleton(config: EncoderConfig) -> bool:
    """Return whether an encoder needs the skeleton of its stream."""
    if isinstance(config, EncoderPart):
        return config.reads_skeleton
    return isinstance(config, GraphEncoderConfig)
