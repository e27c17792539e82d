"""Section `training` of a pretraining recipe; its keys have the names of a run's `training`."""

from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import ALTERNATIVE_KEYS, StrictConfig, select_alternatives

# The batch size to which `base_learning_rate` refers (He et al. 2022, arXiv 2111.06377).
BASE_BATCH_SIZE = 256


class PretrainingLoopConfig(StrictConfig):
    """Settings of the training loop; steps are optimizer steps.

    Of `max_steps` and `num_train_epochs`, of `warmup_steps` and `warmup_ratio`, and of `eval_steps`
    and `eval_epochs`, one has a value and the other is None.
    """

    learning_rate: float | None = Field(8e-4, gt=0, description="Peak learning rate of AdamW.")
    base_learning_rate: float | None = Field(
        None,
        gt=0,
        description="Peak learning rate for 256 windows per step, scaled linearly with their"
        " number; instead of `learning_rate`.",
    )
    min_learning_rate: float = Field(
        1e-6, ge=0, description="Learning rate at the end of `cosine` and `linear`."
    )
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="Learning rate schedule after the warmup."
    )
    warmup_steps: int | None = Field(
        0, ge=0, description="Steps of linear warmup from 0; none with `warmup_ratio`."
    )
    warmup_ratio: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Share of all training steps that are warmup; instead of `warmup_steps`.",
    )
    max_steps: int | None = Field(
        10_000, ge=1, description="Number of training steps; none with `num_train_epochs`."
    )
    num_train_epochs: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Number of epochs, also a fraction; instead of `max_steps`.",
    )
    eval_steps: int | None = Field(
        500,
        ge=1,
        description="Steps between evaluations; a checkpoint follows each evaluation. None with"
        " `eval_epochs`.",
    )
    eval_epochs: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Epochs between evaluations, also a fraction; instead of `eval_steps`.",
    )
    logging_steps: int = Field(50, ge=1, description="Steps between logs of the training loss.")
    gradient_accumulation_steps: int = Field(1, ge=1, description="Batches per optimizer step.")
    weight_decay: float = Field(0.05, ge=0, description="Decoupled weight decay of AdamW.")
    decay_biases: bool = Field(
        False, description="Apply the weight decay to biases and norms as well."
    )
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="First beta of AdamW.")
    adam_beta2: float = Field(0.95, ge=0, lt=1, description="Second beta of AdamW.")
    adam_epsilon: float = Field(1e-8, gt=0, description="Epsilon of AdamW.")
    max_grad_norm: float = Field(
        0.0, ge=0, description="Gradient norm above which to clip; 0: no clipping."
    )
    early_stopping_patience: int | None = Field(
        None,
        ge=1,
        description="Evaluations without improvement after which training stops; none: disabled.",
    )
    seed: int = Field(
        42, ge=0, description="Random seed for initialization, windows, masks and data order."
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Numeric precision of the model's computation; fp16 scales the loss."
    )

    # Before validation, so that a given alternative takes the place of the default.
    @model_validator(mode="before")
    @classmethod
    def _select_alternatives(cls, raw_section: Any) -> Any:
        """Return the input with one value for each pair of alternative keys.

        Raises:
            ValueError: If both keys of a pair have a value.
        """
        return select_alternatives(
            raw_section, (*ALTERNATIVE_KEYS, ("learning_rate", "base_learning_rate"))
        )

    def compute_peak_learning_rate(self, windows_per_step: int) -> float:
        """Compute the peak learning rate for a number of windows per step."""
        if self.learning_rate is not None:
            return self.learning_rate
        assert self.base_learning_rate is not None
        # The linear scaling rule of He et al.: twice the windows, twice the rate.
        return self.base_learning_rate * windows_per_step / BASE_BATCH_SIZE
