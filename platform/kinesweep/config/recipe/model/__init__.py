"""Recipe section `model`: tokenizers, and the model of encoders, fusion and backbone."""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.model.backbone import BackboneConfig, is_causal
from kinesweep.config.recipe.model.encoders import EncoderConfig, LinearEncoderConfig
from kinesweep.config.recipe.model.fusion import FusionConfig, TimeFusionConfig
from kinesweep.config.recipe.model.graph import GraphEncoderConfig
from kinesweep.config.recipe.model.motion_reference import MotionReferenceConfig
from kinesweep.config.recipe.model.vision import VisionConfig
from kinesweep.config.token_list import NewTokens


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
    vision: VisionConfig | None = Field(
        None,
        description="Image or video model that is trained on the decoded frames of"
        " `features.kind: frames`; default: none.",
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
        """Get the encoder of a stream: its own from `encoders`, otherwise the common `encoder`."""
        return self.encoders.get(stream, self.encoder)

    @model_validator(mode="after")
    def _check_trainable(self) -> "ModelConfig":
        """Check that encoders, backbone or vision model are left to be trained."""
        # Every weight belongs to one of these parts.
        trains_vision = self.vision is not None and not self.vision.freeze
        if {"encoder", "backbone"} <= set(self.freeze) and not trains_vision:
            raise ValueError("`freeze` leaves nothing to train")
        return self

    @model_validator(mode="after")
    def _check_frozen_parts(self) -> "ModelConfig":
        """Check that the backbone has all parts in `freeze` and that none contains its adapters."""
        if self.backbone.lora is not None and "backbone" in self.freeze:
            raise ValueError(
                "`freeze` has `backbone`, which would freeze the adapters of `backbone.lora` too;"
                " everything but the adapters is frozen anyway: leave it out"
            )
        missing = sorted({"backbone_encoder", "backbone_decoder"} & set(self.freeze))
        if is_causal(self.backbone) and missing:
            raise ValueError(
                f"`freeze` has `{missing[0]}`, but a causal backbone has no encoder and decoder;"
                " freeze `backbone`, `embeddings` or `lm_head`"
            )
        return self

    @model_validator(mode="after")
    def _check_backbone_lora(self) -> "ModelConfig":
        """Check that adapters of backbone and vision model adapt weights trained before."""
        # LoRA freezes the base weights, which are useful only if they were trained before.
        has_random_weights = self.backbone.pretrained is None and self.init_from is None
        if has_random_weights and self.backbone.lora is not None:
            raise ValueError(
                "`backbone.lora` needs `backbone.pretrained` or `init_from`; random weights would"
                " never be trained"
            )
        lora = self.backbone.lora
        if self.backbone.pretrained is None and lora is not None and lora.quantize != "none":
            raise ValueError(
                f"`backbone.lora.quantize` is {lora.quantize}, but only the weights of"
                " `backbone.pretrained` are held in fewer bits; set it to none"
            )
        vision = self.vision
        if (
            vision is not None
            and vision.lora is not None
            and not (vision.pretrained or self.init_from)
        ):
            raise ValueError(
                "`vision.lora` needs `vision.pretrained` or `init_from`; random weights would never"
                " be trained"
            )
        return self

    @model_validator(mode="after")
    def _check_encoder_lora(self) -> "ModelConfig":
        """Check that adapters of encoders are not frozen and adapt weights trained before."""
        # The keys are dotted paths for the error messages.
        encoders_by_path = {"encoder": self.encoder}
        encoders_by_path |= {f"encoders.{name}": config for name, config in self.encoders.items()}
        for path, encoder in encoders_by_path.items():
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
        """Check that a tokenizer of kind `pretrained` has a pretrained backbone to be read from."""
        if self.tokenizer.kind == "pretrained" and self.backbone.pretrained is None:
            raise ValueError(
                "tokenizer `pretrained` needs `backbone.pretrained`;"
                " a backbone from scratch needs `{kind: train}` or `{kind: folder, path: …}`"
            )
        return self

    @property
    def should_append_eos(self) -> bool:
        """Return whether an end-of-sentence token follows the language model's input."""
        return not is_causal(self.backbone) if self.append_eos is None else self.append_eos

    @property
    def has_frozen_base(self) -> bool:
        """Return whether the backbone is pretrained and its own weights are not trained."""
        backbone = self.backbone
        is_frozen = "backbone" in self.freeze or backbone.lora is not None
        return backbone.pretrained is not None and is_frozen

    def exclude_streams(
        self, unselected: Collection[str], frame_streams: Collection[str]
    ) -> "ModelConfig":
        """Return the section without the encoders of unselected streams.

        Without any stream of frames, the vision model is left out too.

        Args:
            unselected: Names of streams that are not used.
            frame_streams: Names of all streams of decoded frames.
        """
        encoders = {name: item for name, item in self.encoders.items() if name not in unselected}
        has_frames = not set(frame_streams) <= set(unselected)
        vision = self.vision if has_frames else None
        return self.model_copy(update={"encoders": encoders, "vision": vision})

    def restrict_to_encoders(self) -> "ModelConfig":
        """Return the section with all parts but the encoders frozen, and without their adapters."""
        backbone = self.backbone.model_copy(update={"lora": None})
        frozen = tuple(dict.fromkeys([*self.freeze, "backbone"]))
        vision = self.vision and self.vision.model_copy(update={"lora": None, "freeze": True})
        return self.model_copy(update={"backbone": backbone, "freeze": frozen, "vision": vision})
