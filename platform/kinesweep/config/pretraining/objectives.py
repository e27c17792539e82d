"""Sections `model` and `objective` of a pretraining recipe.

Defaults are those of SSVP-SLT (arXiv 2402.09611), whose objective is that of Hiera (2306.00989).
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig


class PretrainedModelConfig(StrictConfig):
    """The SignHiera that is pretrained."""

    kind: Literal["signhiera"] = Field("signhiera", description="Kind of vision model.")
    scratch: dict[str, Any] | None = Field(
        None,
        description="Size of a model with random weights: any of `max_frames`, `size`,"
        " `first_stage_width`, `first_stage_heads`, `stage_depths`, `num_local_stages`; default:"
        " Hiera-Base on 128 frames of 224 pixels. Excludes `init_from`.",
    )
    init_from: str | None = Field(
        None,
        description="Weights to start from, a `.pth` or `.safetensors` file as for the encoder"
        " `signhiera`; excludes `scratch`.",
    )
    from_clip: bool = Field(False, description="Use the vision tower of a CLIP checkpoint.")
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the file `init_from`; recorded when a run starts.",
    )
    drop_path: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Stochastic depth: probability of dropping a branch of the last layer, growing"
        " linearly from 0 at the first layer.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute the activations of each layer instead of storing them."
    )

    @model_validator(mode="after")
    def _check_origin(self) -> "PretrainedModelConfig":
        """Check that at most one origin of the weights is given, and what describes it."""
        # The sizes of a pretrained model follow from its weights.
        if self.scratch is not None and self.init_from is not None:
            raise ValueError("give `scratch` or `init_from`, not both")
        if self.init_from is None and (self.from_clip or self.sha256 is not None):
            raise ValueError("`from_clip` and `sha256` describe `init_from`, which is not set")
        return self


class MaskedAutoencodingConfig(StrictConfig):
    """Masked autoencoding: predict the pixels of hidden mask units from the visible ones."""

    kind: Literal["mae"] = Field("mae", description="Kind of objective.")
    mask_ratio: float = Field(
        0.9,
        gt=0,
        lt=1,
        description="Share of the mask units of a window (2 frames of 32 x 32 pixels) to hide.",
    )
    normalize_targets: bool = Field(
        True, description="Normalize the pixels of each mask unit before they are predicted."
    )
    decoder_width: int = Field(512, ge=1, description="Width of the decoder.")
    decoder_depth: int = Field(8, ge=1, description="Number of layers of the decoder.")
    decoder_heads: int = Field(8, ge=1, description="Number of attention heads of the decoder.")
    init_from: str | None = Field(
        None,
        description="Weights of the decoder to start from: `best/objective.safetensors` of a run,"
        " or a checkpoint that holds encoder and decoder. Default: random weights.",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the file `init_from`; recorded when a run starts.",
    )

    @model_validator(mode="after")
    def _check_heads(self) -> "MaskedAutoencodingConfig":
        """Check that the width is a multiple of the number of heads."""
        # Heads share the width equally; PyTorch would fail with a shape only when the model is
        # built.
        if self.decoder_width % self.decoder_heads:
            raise ValueError(
                f"`decoder_width` ({self.decoder_width}) must be a multiple of `decoder_heads`"
                f" ({self.decoder_heads})"
            )
        return self
