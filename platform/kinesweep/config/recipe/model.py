"""Recipe section `model`: encoders, backbone and tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.backbone import BackboneConfig
from kinesweep.config.recipe.fusion import FusionConfig, TimeFusionConfig
from kinesweep.config.recipe.graph import (
    GraphEncoderConfig,
    StagcnEncoderConfig,
    StgcnEncoderConfig,
)
from kinesweep.config.recipe.motion_reference import MotionReferenceConfig


class FrameEncoderConfig(StrictConfig):
    """First steps of all frame encoders: standardization → velocities → norm."""

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
        """Check that all widths are positive."""
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
        """Check that kernels are odd and that each has a stride it covers."""
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


def _get_kind(value: object) -> str:
    """Return the `kind` of an encoder; `linear` if none is given."""
    kind = value.get("kind", "linear") if isinstance(value, Mapping) else getattr(value, "kind", "")
    return str(kind)


def _read_tokens(value: object) -> object:
    """Return tokens from a list, a comma-separated text, or the first words of a file's lines."""
    if not isinstance(value, str):
        return value
    # A missing file is an error, or a mistyped path would silently become a token.
    path = Path(value)
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(line.split()[0] for line in lines if line.strip())
    if "/" in value or path.suffix in {".txt", ".tsv", ".csv"}:
        raise ValueError("looks like the path of a file, but there is no such file")
    return tuple(token.strip() for token in value.split(",") if token.strip())


NewTokens = Annotated[tuple[str, ...], BeforeValidator(_read_tokens)]


class _TokenizerBaseConfig(StrictConfig):
    """Settings shared by all tokenizers."""

    lowercase: bool = Field(
        False,
        description="Lowercase texts before tokenization; `generation.truecase` restores the case.",
    )


class PretrainedTokenizerConfig(_TokenizerBaseConfig):
    """The tokenizer that was saved with the pretrained backbone."""

    kind: Literal["pretrained"] = Field("pretrained", description="Origin of the tokenizer.")
    new_tokens: NewTokens = Field(
        (),
        description="Tokens to add, such as `__asl__`: a list, a comma-separated text, or a file"
        " with one token per line. Tokens that exist already are ignored.",
    )


class FolderTokenizerConfig(_TokenizerBaseConfig):
    """An existing tokenizer, for a backbone that was not saved with it."""

    kind: Literal["folder"] = Field("folder", description="Origin of the tokenizer.")
    path: str = Field(
        description="Folder of a Hugging Face tokenizer, or of one SentencePiece unigram model"
        " (`*.model`), whose ids follow fairseq's `dict*.txt` if the folder has one."
    )
    new_tokens: NewTokens = Field(
        (),
        description="Tokens to add, such as `__asl__`: a list, a comma-separated text, or a file"
        " with one token per line. Tokens that exist already are ignored.",
    )


class TrainedTokenizerConfig(_TokenizerBaseConfig):
    """A tokenizer trained on the texts and prompts of the training split."""

    kind: Literal["train"] = Field("train", description="Origin of the tokenizer.")
    algorithm: Literal["unigram", "bpe", "word"] = Field(
        "unigram", description="Tokenization algorithm."
    )
    size: int = Field(8000, ge=32, description="Largest vocabulary size, with special tokens.")
    new_tokens: NewTokens = Field(
        (),
        description="Tokens that are never split, such as `__asl__`: a list, a comma-separated"
        " text, or a file with one token per line.",
    )


TokenizerConfig = Annotated[
    PretrainedTokenizerConfig | TrainedTokenizerConfig | FolderTokenizerConfig,
    Field(discriminator="kind"),
]
# A callable discriminator lets `kind` be omitted; pydantic's own would require it in the input.
EncoderConfig = Annotated[
    Annotated[LinearEncoderConfig, Tag("linear")]
    | Annotated[MlpEncoderConfig, Tag("mlp")]
    | Annotated[AdapterEncoderConfig, Tag("adapter")]
    | Annotated[CnnEncoderConfig, Tag("cnn")]
    | Annotated[StgcnEncoderConfig, Tag("stgcn")]
    | Annotated[StagcnEncoderConfig, Tag("stagcn")],
    Discriminator(_get_kind),
]
ModelPart = Literal[
    "encoder", "backbone", "backbone_encoder", "backbone_decoder", "embeddings", "lm_head"
]
"""`encoder`: all stream encoders and their fusion; the other parts belong to the language model."""


class ModelConfig(StrictConfig):
    """An encoder for each stream, followed by a language model."""

    encoder: EncoderConfig = Field(
        LinearEncoderConfig(), description="Encoder from features to the backbone's width."
    )
    encoders: dict[str, EncoderConfig] = Field(
        {}, description="Stream name → its own encoder, which replaces `encoder` completely."
    )
    fusion: FusionConfig = Field(TimeFusionConfig(), description="Fusion of several streams.")
    reference: MotionReferenceConfig | None = Field(
        None, description="Comparison of a stream with a reference stream; default: none."
    )
    backbone: BackboneConfig = Field(description="The language model.")
    tokenizer: TokenizerConfig = Field(TrainedTokenizerConfig(), description="The tokenizer.")
    append_eos: bool | None = Field(
        None,
        description="Append the end-of-sentence token to the frames; default: true for `seq2seq`,"
        " false for `causal`, where the text continues the input.",
    )
    init_from: str | None = Field(
        None,
        description="Model folder that provides the initial weights (`best` of a run, or a bundle);"
        " its streams, encoders and language model must match.",
    )
    init_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the weights in `init_from`; recorded when a run starts.",
    )
    reserved_text_tokens: int | None = Field(
        None,
        ge=1,
        description="Truncate streams that exceed the backbone's positions, and reserve this many"
        " positions for the text if both share them: at least the longest text in tokens and"
        " `generation.max_new_tokens`. Default: an input that does not fit is an error.",
    )
    freeze: tuple[ModelPart, ...] = Field(
        (),
        description="Parts whose weights are not trained; tied weights are frozen if one of their"
        " parts is.",
    )

    # `encoders` is not merged with `encoder`: a field that is omitted there has its own default.
    def get_encoder_config(self, stream: str) -> EncoderConfig:
        """Get the encoder configuration of a stream: its own, or the common one."""
        return self.encoders.get(stream, self.encoder)

    @model_validator(mode="after")
    def _check_trainable(self) -> "ModelConfig":
        """Check that something is left to train."""
        # Every weight belongs to one of these two parts.
        if {"encoder", "backbone"} <= set(self.freeze):
            raise ValueError("`freeze` leaves nothing to train")
        return self

    @model_validator(mode="after")
    def _check_frozen_parts(self) -> "ModelConfig":
        """Check that the frozen parts exist and hold no adapters."""
        if self.backbone.lora is not None and "backbone" in self.freeze:
            raise ValueError(
                "`freeze` has `backbone`, which would freeze the adapters of `backbone.lora` too;"
                " everything but the adapters is frozen anyway: leave it out"
            )
        missing = sorted({"backbone_encoder", "backbone_decoder"} & set(self.freeze))
        if self.backbone.kind == "causal" and missing:
            raise ValueError(
                f"`freeze` has `{missing[0]}`, but a causal backbone has no encoder and decoder;"
                " freeze `backbone`, `embeddings` or `lm_head`"
            )
        return self

    @model_validator(mode="after")
    def _check_backbone_lora(self) -> "ModelConfig":
        """Check that adapters of the backbone adapt trained weights."""
        # LoRA freezes the base weights, which are useful only if they were trained before.
        has_random_weights = self.backbone.pretrained is None and self.init_from is None
        if has_random_weights and self.backbone.lora is not None:
            raise ValueError(
                "`backbone.lora` needs `backbone.pretrained` or `init_from`; random weights would"
                " never be trained"
            )
        return self

    @model_validator(mode="after")
    def _check_encoder_lora(self) -> "ModelConfig":
        """Check that adapters of encoders adapt trained weights."""
        # The keys are dotted paths for the error messages.
        encoders = {"encoder": self.encoder}
        encoders |= {f"encoders.{name}": config for name, config in self.encoders.items()}
        for path, encoder in encoders.items():
            if not isinstance(encoder, GraphEncoderConfig) or encoder.lora is None:
                continue
            if self.init_from is None:
                raise ValueError(
                    f"`{path}.lora` needs `init_from`; random weights would never be trained"
                )
            if "encoder" in self.freeze:
                raise ValueError(
                    f"`freeze` has `encoder`, which would freeze the adapters of `{path}.lora`; the"
                    " rest, except for the output layer, is frozen anyway: leave it out"
                )
        return self

    @model_validator(mode="after")
    def _check_tokenizer(self) -> "ModelConfig":
        """Check that the kind of tokenizer suits the backbone."""
        if self.tokenizer.kind == "pretrained" and self.backbone.pretrained is None:
            raise ValueError(
                "tokenizer `pretrained` needs `backbone.pretrained`;"
                " a backbone from scratch needs `{kind: train}` or `{kind: folder, path: …}`"
            )
        return self

    @property
    def should_append_eos(self) -> bool:
        """Return whether an end-of-sentence token follows the language model's input."""
        return self.backbone.kind == "seq2seq" if self.append_eos is None else self.append_eos

    @property
    def has_frozen_base(self) -> bool:
        """Return whether the pretrained base model is frozen, so that only adapters are trained."""
        backbone = self.backbone
        is_frozen = "backbone" in self.freeze or backbone.lora is not None
        return backbone.pretrained is not None and is_frozen
