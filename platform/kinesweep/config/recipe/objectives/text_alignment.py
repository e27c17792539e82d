"""Recipe section `training.alignment`: the alignment of clips with texts before translation."""

from typing import Annotated, Literal

from pydantic import Field

from kinesweep.config.loading import StrictConfig
from kinesweep.core.scores import RECALL_RANKS

RETRIEVAL_METRICS = tuple(
    f"{way}_r{rank}" for way in ("sign_to_text", "text_to_sign") for rank in RECALL_RANKS
)
"""Recall@k of texts by clips and of clips by texts, in percent."""


class BackboneTextEncoderConfig(StrictConfig):
    """The encoder of the language model, which reads clips and texts alike."""

    kind: Literal["backbone"] = Field("backbone", description="Kind of text encoder.")


class TransformerTextEncoderConfig(StrictConfig):
    """A small transformer over the language model's token embeddings, used in this stage only."""

    kind: Literal["transformer"] = Field(description="Kind of text encoder.")
    layers: int = Field(2, ge=1, description="Number of layers.")
    heads: int = Field(4, ge=1, description="Attention heads; they divide the backbone's width.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout in each layer.")


class RestorationConfig(StrictConfig):
    """Restoration of masked texts, which trains the language model's decoder on the texts."""

    weight: float = Field(1.0, gt=0, description="Weight of the loss beside the contrastive loss.")
    masking: Literal["last", "random"] = Field(
        "last",
        description="Masked tokens of a text. `last`: up to `mask_share` of them, from its end, as"
        " GFSLT-VLP does with words; `random`: this share of them, anywhere.",
    )
    mask_share: float = Field(
        0.15, gt=0, le=1, description="Share of the tokens of a text that are masked."
    )


class TextAlignmentConfig(StrictConfig):
    """Contrastive training of the stream encoders and a text encoder, with restoration of texts.

    Zhou et al. 2023, arXiv 2307.14768 (GFSLT-VLP).
    """

    text_encoder: Annotated[
        BackboneTextEncoderConfig | TransformerTextEncoderConfig, Field(discriminator="kind")
    ] = Field(
        BackboneTextEncoderConfig(),
        description="Encoder of the texts. A causal backbone has no encoder of its own and needs"
        " `kind: transformer`.",
    )
    contrastive_weight: float = Field(1.0, gt=0, description="Weight of the contrastive loss.")
    projection_width: int | None = Field(
        None,
        ge=1,
        description="Width in which clips and texts are compared; none: that of the backbone.",
    )
    temperature: float = Field(
        # The start value of CLIP (arXiv 2103.00020).
        0.07,
        ge=0.01,
        description="Temperature of the similarities at the start of training. As in CLIP, it does"
        " not fall below 0.01, where training becomes unstable.",
    )
    learn_temperature: bool = Field(True, description="Train the temperature, as CLIP does.")
    restoration: RestorationConfig | None = Field(
        RestorationConfig(),
        description="Restoration of masked texts; none: the decoder is not trained. It needs an"
        " encoder-decoder.",
    )


def list_alignment_metrics(config: TextAlignmentConfig, has_sign_contrast: bool) -> tuple[str, ...]:
    """List the scores of an evaluation in the alignment stage that can select checkpoints.

    Args:
        config: Section `training.alignment`.
        has_sign_contrast: Whether `training.sign_contrastive` is set.
    """
    # First, because it is the default of `metric_for_best_model` in this stage.
    losses = ["contrastive_loss"]
    losses += ["restoration_loss"] if config.restoration is not None else []
    losses += ["sign_contrastive_loss"] if has_sign_contrast else []
    return (*losses, *RETRIEVAL_METRICS)
