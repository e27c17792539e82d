"""Recipe part `model`: encoder, backbone and tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from kinesweep.core.config import Frozen
from kinesweep.core.recipe.backbone import BackboneConfig
from kinesweep.core.recipe.fusion import FusionConfig, TimeFusionConfig
from kinesweep.core.recipe.graph import (
    GraphEncoderConfig,
    StagcnEncoderConfig,
    StgcnEncoderConfig,
)
from kinesweep.core.recipe.reference import ReferenceConfig


class FrameEncoderConfig(Frozen):
    """What all encoders begin with: standardise → velocities → norm."""

    standardize: bool = Field(
        True, description="Subtract each feature's mean over train, divide by its deviation."
    )
    velocity: bool = Field(
        False, description="Beside each feature its difference from the frame before."
    )
    norm_in: bool = Field(True, description="Normalise the features of a frame first.")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="Share of values dropped after each hidden layer."
    )


class _FramewiseConfig(FrameEncoderConfig):
    """What encoders share that see each frame on its own."""

    norm_out: bool = Field(True, description="Normalise after the last linear layer.")
    downsample: int = Field(
        1, ge=1, description="Mean of so many frames in a row, before they leave; 1: all frames."
    )


class LinearEncoderConfig(_FramewiseConfig):
    """Standardise → norm → linear → gain → dropout → norm → activation; only linear must be."""

    kind: Literal["linear"] = Field("linear", description="Encoder of a stream.")
    gain: bool = Field(False, description="Learn a scale of each output dimension.")
    activation: Literal["relu", "none"] = Field("relu", description="Last step.")


class MlpEncoderConfig(_FramewiseConfig):
    """Norm → (linear → activation → dropout) for each hidden layer → linear → norm."""

    kind: Literal["mlp"] = Field("mlp", description="Encoder of a stream.")
    hidden: tuple[int, ...] = Field((512,), min_length=1, description="Widths of hidden layers.")
    activation: Literal["relu", "gelu"] = Field("relu", description="After each hidden layer.")

    @field_validator("hidden")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1:
            raise ValueError("holds a width below 1")
        return value


class AdapterEncoderConfig(_FramewiseConfig):
    """Norm → linear, then beside it a bottleneck (norm → down → ReLU → dropout → up) → norm."""

    kind: Literal["adapter"] = Field("adapter", description="Encoder of a stream.")
    bottleneck: int = Field(64, ge=1, description="Width between down and up.")


class CnnEncoderConfig(FrameEncoderConfig):
    """Norm → linear → (convolution over time → GLU → dropout) for each kernel."""

    kind: Literal["cnn"] = Field("cnn", description="Encoder of a stream.")
    channels: int = Field(256, ge=1, description="Width between the convolutions.")
    kernels: tuple[int, ...] = Field(
        (3, 3), min_length=1, description="Frames that each convolution sees; odd."
    )
    strides: tuple[int, ...] = Field(
        (2, 2), min_length=1, description="Every n-th frame leaves each convolution."
    )

    @model_validator(mode="after")
    def _pairs(self) -> "CnnEncoderConfig":
        if len(self.kernels) != len(self.strides):
            raise ValueError("`kernels` and `strides` must be equally many")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError("`kernels` must be odd: 1, 3, 5 …")
        if any(
            stride < 1 or stride > kernel
            for stride, kernel in zip(self.strides, self.kernels, strict=True)
        ):
            raise ValueError("a stride must be at least 1 and no longer than its kernel")
        return self


def _kind_of(value: object) -> str:
    """The `kind` of an encoder; `linear` where none is given."""
    kind = value.get("kind", "linear") if isinstance(value, Mapping) else getattr(value, "kind", "")
    return str(kind)


def _read_tokens(value: object) -> object:
    """Tokens of a list, of a text with commas, or of a file's lines (their first word)."""
    if not isinstance(value, str):
        return value
    path = Path(value)
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(line.split()[0] for line in lines if line.strip())
    if "/" in value or path.suffix in {".txt", ".tsv", ".csv"}:
        raise ValueError("looks like a file's path, but there is no such file")
    return tuple(token.strip() for token in value.split(",") if token.strip())


NewTokens = Annotated[tuple[str, ...], BeforeValidator(_read_tokens)]


class _CasedConfig(Frozen):
    """What tokenizers share."""

    lowercase: bool = Field(
        False,
        description="Lower-case texts before they are cut; `generation.truecase` gives case back.",
    )


class PretrainedTokenizerConfig(_CasedConfig):
    """The tokenizer that was saved with the pretrained backbone."""

    kind: Literal["pretrained"] = Field("pretrained", description="Where the tokenizer comes from.")
    new_tokens: NewTokens = Field(
        (),
        description="Tokens to add, such as `__asl__`: a list, a text with commas, or a file with"
        " one a line. Those it has are passed over.",
    )


class FolderTokenizerConfig(_CasedConfig):
    """A tokenizer that is there already, for a backbone that was not saved with it."""

    kind: Literal["folder"] = Field("folder", description="Where the tokenizer comes from.")
    path: str = Field(
        description="Folder that Hugging Face loads a tokenizer from, or with one `*.model` of"
        " SentencePiece's (unigram), numbered by fairseq's `dict*.txt` where that is beside it."
    )
    new_tokens: NewTokens = Field(
        (),
        description="Tokens to add, such as `__asl__`: a list, a text with commas, or a file with"
        " one a line. Those it has are passed over.",
    )


class TrainedTokenizerConfig(_CasedConfig):
    """A tokenizer trained on the texts and prompts of the training split."""

    kind: Literal["train"] = Field("train", description="Where the tokenizer comes from.")
    algorithm: Literal["unigram", "bpe", "word"] = Field("unigram", description="How text is cut.")
    size: int = Field(8000, ge=32, description="Pieces at the most, special tokens included.")
    new_tokens: NewTokens = Field(
        (),
        description="Tokens that are never cut, such as `__asl__`: a list, a text with commas, or"
        " a file with one a line.",
    )


TokenizerConfig = Annotated[
    PretrainedTokenizerConfig | TrainedTokenizerConfig | FolderTokenizerConfig,
    Field(discriminator="kind"),
]
EncoderConfig = Annotated[
    Annotated[LinearEncoderConfig, Tag("linear")]
    | Annotated[MlpEncoderConfig, Tag("mlp")]
    | Annotated[AdapterEncoderConfig, Tag("adapter")]
    | Annotated[CnnEncoderConfig, Tag("cnn")]
    | Annotated[StgcnEncoderConfig, Tag("stgcn")]
    | Annotated[StagcnEncoderConfig, Tag("stagcn")],
    Discriminator(_kind_of),
]
ModelPart = Literal[
    "encoder", "backbone", "backbone_encoder", "backbone_decoder", "embeddings", "lm_head"
]
"""`encoder` is ours, of all streams, with what joins them; the others are the language model's."""


class ModelConfig(Frozen):
    """Encoder for each stream, then a language model."""

    encoder: EncoderConfig = Field(
        LinearEncoderConfig(), description="From features to the backbone's width."
    )
    encoders: dict[str, EncoderConfig] = Field(
        {}, description="Name of a stream → its encoder, instead of `encoder`, whole."
    )
    fusion: FusionConfig = Field(TimeFusionConfig(), description="How streams become one input.")
    reference: ReferenceConfig | None = Field(
        None, description="A stream that is held against another one; default: none is."
    )
    backbone: BackboneConfig = Field(description="The language model.")
    tokenizer: TokenizerConfig = Field(TrainedTokenizerConfig(), description="From text to tokens.")
    end_token: bool | None = Field(
        None,
        description="Put the end of a sentence behind the frames, as behind a text; default: true"
        " for `seq2seq`, false for `causal`, where the text goes on from there.",
    )
    init_from: str | None = Field(
        None,
        description="Model folder of an earlier stage (`best` of a run, or a bundle), whose weights"
        " training begins with; its streams, encoders and language model must be these.",
    )
    init_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="What those weights must be; noted when a run begins.",
    )
    reserve_tokens: int | None = Field(
        None,
        ge=1,
        description="Cut the ends of streams that do not fit into the backbone's positions, and"
        " keep so many of them for the text where it shares them: at least the longest text in"
        " tokens and `generation.max_new_tokens`. Default: what does not fit is an error.",
    )
    freeze: tuple[ModelPart, ...] = Field(
        (),
        description="Parts whose weights stay as they are; tied weights stay when one of their"
        " parts does.",
    )

    def encoder_of(self, stream: str) -> EncoderConfig:
        """The encoder of a stream: its own, or that of all."""
        return self.encoders.get(stream, self.encoder)

    @model_validator(mode="after")
    def _something_learns(self) -> "ModelConfig":
        if {"encoder", "backbone"} <= set(self.freeze):
            raise ValueError("`freeze` leaves nothing to train")
        return self

    @model_validator(mode="after")
    def _parts_are_there(self) -> "ModelConfig":
        if self.backbone.lora is not None and "backbone" in self.freeze:
            raise ValueError(
                "`freeze` holds `backbone`, which would freeze the adapters of `backbone.lora` too;"
                " all but the adapters stays as it is anyway: leave it out"
            )
        missing = sorted({"backbone_encoder", "backbone_decoder"} & set(self.freeze))
        if self.backbone.kind == "causal" and missing:
            raise ValueError(
                f"`freeze` holds `{missing[0]}`, but a causal backbone has no halves; freeze"
                " `backbone`, `embeddings` or `lm_head`"
            )
        return self

    @model_validator(mode="after")
    def _adapters_have_something_to_adapt(self) -> "ModelConfig":
        random = self.backbone.pretrained is None and self.init_from is None
        if random and self.backbone.lora is not None:
            raise ValueError(
                "`backbone.lora` needs `backbone.pretrained`, or `init_from`; random weights would"
                " stay random"
            )
        return self

    @model_validator(mode="after")
    def _encoders_adapters_have_weights(self) -> "ModelConfig":
        encoders = {"encoder": self.encoder}
        encoders |= {f"encoders.{name}": one for name, one in self.encoders.items()}
        for path, encoder in encoders.items():
            if not isinstance(encoder, GraphEncoderConfig) or encoder.lora is None:
                continue
            if self.init_from is None:
                raise ValueError(
                    f"`{path}.lora` needs `init_from`; random weights would stay random"
                )
            if "encoder" in self.freeze:
                raise ValueError(
                    f"`freeze` holds `encoder`, which would freeze the adapters of `{path}.lora`;"
                    " all but them and what leads out stays anyway: leave it out"
                )
        return self

    @model_validator(mode="after")
    def _tokenizer_fits(self) -> "ModelConfig":
        if self.tokenizer.kind == "pretrained" and self.backbone.pretrained is None:
            raise ValueError(
                "tokenizer `pretrained` needs `backbone.pretrained`;"
                " a backbone from scratch needs `{kind: train}` or `{kind: folder, path: …}`"
            )
        return self

    @property
    def ends_input(self) -> bool:
        """Whether the end of a sentence stands behind what the language model reads."""
        return self.backbone.kind == "seq2seq" if self.end_token is None else self.end_token

    @property
    def keeps_base(self) -> bool:
        """Whether the backbone is a saved model of which nothing but adapters learns."""
        backbone = self.backbone
        frozen = "backbone" in self.freeze or backbone.lora is not None
        return backbone.pretrained is not None and frozen
