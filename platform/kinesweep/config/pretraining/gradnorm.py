"""Section `objective.gradnorm`: balance of several losses by the norms of their gradients."""

from typing import Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig


class GradNormConfig(StrictConfig):
    """GradNorm (Chen et al. 2018, arXiv:1711.02257) with the values of SSVP-SLT."""

    alpha: float = Field(
        1.0,
        ge=0,
        description="Asymmetry α: with 0 all gradients get the same norm; the larger it is, the"
        " more weight the loss gets that has fallen less.",
    )
    learning_rate: float = Field(
        1e-3, gt=0, description="Peak learning rate of Adam on the weights of the losses."
    )
    min_learning_rate: float = Field(
        1e-5, ge=0, description="Learning rate of the weights at the end of the cosine schedule."
    )
    warmup_steps: int = Field(
        0, ge=0, description="Steps of linear warm-up of the weights' learning rate."
    )
    shared: Literal["last_layer", "encoder"] = Field(
        "last_layer",
        description="Weights whose gradients are compared: the `last_layer` of the video encoder,"
        " as in the paper, or the whole `encoder`, as in SSVP-SLT, for another backward pass.",
    )

    @model_validator(mode="after")
    def _check_learning_rates(self) -> "GradNormConfig":
        """Check that the learning rate falls."""
        if self.min_learning_rate > self.learning_rate:
            raise ValueError("`min_learning_rate` must not exceed `learning_rate`")
        return self
