"""Section `objective` of kind `clip`: videos and their texts, with or without masked autoencoding.

Defaults are those of SSVP-SLT-LSP (arXiv 2402.09611). As in FLIP (2212.00794), the encoder sees
only the visible mask units of a window in training.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.pretraining.gradnorm import GradNormConfig
from kinesweep.config.pretraining.objectives import MaskedAutoencodingConfig
from kinesweep.config.pretraining.text_tower import Projection, TextTowerConfig

_RETRIEVAL_METRICS = Literal["recall_1", "recall_5", "recall_10", "median_rank"]


class ClipConfig(StrictConfig):
    """Contrastive language supervision (CLIP), by default together with masked autoencoding."""

    kind: Literal["clip"] = Field(description="Kind of objective.")
    mask_ratio: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="Share of the mask units of a training window that the contrastive loss does"
        " not see; 0: all units are seen, as in CLIP. If it is that of `mae`, one pass of the"
        " encoder serves both losses.",
    )
    mae: MaskedAutoencodingConfig | None = Field(
        MaskedAutoencodingConfig(),
        description="Masked autoencoding as the second loss; null: contrastive loss only.",
    )
    text: TextTowerConfig = Field(description="The text encoder.")
    width: int = Field(768, ge=2, description="Width of the embeddings that are compared.")
    projection: Projection = Field(
        "mlp",
        description="Projection of the pooled mask units: `mlp` (two linear layers with GELU,"
        " without biases), `linear`, or `none`, which needs equal widths.",
    )
    temperature: float = Field(
        0.07, gt=0, description="Initial temperature, by which similarities are divided; learned."
    )
    max_scale: float = Field(
        100.0, gt=1, description="Largest factor of the similarities (1 / temperature)."
    )
    gradnorm: GradNormConfig | None = Field(
        GradNormConfig(),
        description="Learned weights of the two losses; null: the fixed `mae_weight`. Null without"
        " `mae`.",
    )
    mae_weight: float | None = Field(
        None,
        gt=0,
        description="Fixed weight of the loss of `mae`, beside a contrastive loss of weight 1;"
        " only with `gradnorm: null`, where the default is 1.",
    )
    metric: Literal[_RETRIEVAL_METRICS, "contrastive_loss", "masked_loss"] = Field(
        "recall_1",
        description="Validation score that selects the best checkpoint. Recalls are in percent, the"
        " mean of both directions.",
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_default_gradnorm(cls, raw_section: Any) -> Any:
        """Return the input without the default of `gradnorm` if there is only one loss."""
        if isinstance(raw_section, dict) and raw_section.get("mae", {}) is None:
            # The given value comes last, so that an explicit `gradnorm` is reported as unused.
            return {"gradnorm": None, **raw_section}
        return raw_section

    @model_validator(mode="after")
    def _check_weights(self) -> "ClipConfig":
        """Check that the settings of the second loss have one, and only one of both is set."""
        if self.mae is None:
            given = {
                "metric: masked_loss": self.metric == "masked_loss",
                "gradnorm": self.gradnorm is not None,
                "mae_weight": self.mae_weight is not None,
            }
            if any(given.values()):
                name = next(name for name, is_given in given.items() if is_given)
                raise ValueError(f"`{name}` needs the second loss, but `mae` is null")
        # One of the two would have no effect.
        if self.gradnorm is not None and self.mae_weight is not None:
            raise ValueError("`mae_weight` is fixed, but `gradnorm` learns it; set one of them")
        return self
