"""Recipe parts `training`, `generation`, `checkpoints` and `resources`.

Keys of `training` are names of Hugging Face's `Seq2SeqTrainingArguments` wherever it has them.
"""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from kinesweep.core.config import Frozen
from kinesweep.core.units import parse_bytes

OptimizerName = Literal[
    "adamw_torch_fused",
    "adamw_torch",
    "adafactor",
    "sgd",
    "adagrad",
    "rmsprop",
    "adamw_bnb_8bit",
    "paged_adamw_8bit",
    "paged_adamw_32bit",
    "lion_8bit",
    "lion_32bit",
    "paged_lion_8bit",
    "paged_lion_32bit",
    "rmsprop_bnb",
]
# Not `reduce_lr_on_plateau` and `greedy`: they ask Hugging Face's own evaluation.
ScheduleName = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "polynomial",
    "warmup_stable_decay",
]
_SCHEDULE_KEYS = {
    "cosine_with_restarts": frozenset({"num_cycles"}),
    "cosine_with_min_lr": frozenset({"num_cycles", "min_lr", "min_lr_rate"}),
    "cosine_warmup_with_min_lr": frozenset(
        {"num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"}
    ),
    "inverse_sqrt": frozenset({"timescale"}),
    "polynomial": frozenset({"lr_end", "power"}),
    "warmup_stable_decay": frozenset(
        {"num_decay_steps", "num_stable_steps", "min_lr_ratio", "num_cycles"}
    ),
}
"""Schedule → arguments of its function in `transformers.optimization`."""
_SCHEDULE_NEEDS = {
    "cosine_with_min_lr": frozenset({"min_lr", "min_lr_rate"}),
    "cosine_warmup_with_min_lr": frozenset({"min_lr", "min_lr_rate"}),
    "warmup_stable_decay": frozenset({"num_decay_steps"}),
}
"""Schedule → arguments of which it needs one."""


class TrainingConfig(Frozen):
    """How weights are learnt. Steps are optimiser steps."""

    stage: Literal["all", "projectors", "lora"] = Field(
        "all",
        description="`projectors`: the language model stays as it is, without adapters; `lora`:"
        " its adapters learn too; `all`: whatever `model` leaves free.",
    )
    learning_rate: float = Field(5e-5, gt=0, description="Peak learning rate.")
    optim: OptimizerName = Field(
        "adamw_torch_fused",
        description="Hugging Face's name of the optimiser; those with `bnb`, `paged`, `lion` or"
        " `8bit` need bitsandbytes.",
    )
    lr_scheduler_type: ScheduleName = Field(
        "inverse_sqrt", description="Course of the learning rate, by Hugging Face's name."
    )
    lr_scheduler_kwargs: dict[str, float] = Field(
        {}, description="What the course takes beside warm-up and length, such as `min_lr`."
    )
    warmup_steps: int = Field(0, ge=0, description="Steps in which the learning rate rises from 0.")
    max_steps: int = Field(10_000, ge=1, description="Steps at the most.")
    eval_steps: int = Field(
        250, ge=1, description="Steps between evaluations; a checkpoint follows each."
    )
    logging_steps: int = Field(
        50, ge=1, description="Steps between two records of the training loss."
    )
    gradient_accumulation_steps: int = Field(1, ge=1, description="Batches a step.")
    label_smoothing_factor: float = Field(
        0.0, ge=0, lt=1, description="Of the target distribution."
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled decay, not on biases and norms.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's first decay.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="AdamW's second decay.")
    adam_epsilon: float = Field(1e-8, gt=0, description="AdamW's epsilon.")
    max_grad_norm: float = Field(1.0, ge=0, description="Clip gradients to this norm; 0: never.")
    metric_for_best_model: Literal["bleu", "chrf", "rouge", "cider", "token_loss"] = Field(
        "bleu", description="What the best checkpoint is best in."
    )
    average_checkpoints: int = Field(
        1,
        ge=1,
        description="The result's weights are the mean of so many checkpoints, the best and those"
        " before it; scores that chose the best are those of the best alone.",
    )
    early_stopping_patience: int | None = Field(
        None,
        ge=1,
        description="Evaluations without a better score before training stops; none: never.",
    )
    early_stopping_threshold: float = Field(0.0, ge=0, description="What counts as better.")
    seed: int = Field(42, ge=0, description="Of set-up, dropout and data order.")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Arithmetic of the model."
    )
    activation_checkpointing: bool = Field(
        False, description="Compute the backbone's activations twice instead of keeping them."
    )

    fsdp: bool = Field(
        False,
        description="Cut weights, gradients and optimiser state over the workers (FSDP2), for"
        " models that do not fit on one; needs `resources.workers` of 2 or more.",
    )

    @model_validator(mode="after")
    def _schedule_takes_them(self) -> "TrainingConfig":
        allowed = _SCHEDULE_KEYS.get(self.lr_scheduler_type, frozenset())
        wrong = sorted(self.lr_scheduler_kwargs.keys() - allowed)
        if wrong:
            shown = ", ".join(f"`{key}`" for key in sorted(allowed)) or "nothing"
            raise ValueError(
                f"`lr_scheduler_kwargs` holds `{wrong[0]}`, but `{self.lr_scheduler_type}` takes"
                f" {shown}"
            )
        needs_one = _SCHEDULE_NEEDS.get(self.lr_scheduler_type)
        if needs_one and not needs_one & self.lr_scheduler_kwargs.keys():
            shown = " or ".join(f"`{key}`" for key in sorted(needs_one))
            raise ValueError(f"`{self.lr_scheduler_type}` needs `lr_scheduler_kwargs`: {shown}")
        return self


class GenerationConfig(Frozen):
    """How text is decoded."""

    num_beams: int = Field(5, ge=1, description="Beams; 1 is greedy.")
    max_new_tokens: int = Field(
        100, ge=1, description="Tokens at the most, forced prompt included."
    )
    length_penalty: float = Field(
        1.0, description="Exponent of the length; above 0 favours long text."
    )
    truecase: bool = Field(
        False,
        description="Give text the case that its words have in the training texts; for"
        " `model.tokenizer.lowercase`.",
    )


class CheckpointsConfig(Frozen):
    """What stays on disk."""

    keep: Literal["best+last", "best", "last", "all"] = Field(
        "best+last",
        description="Checkpoints of a running run; a finished one keeps its best model alone.",
    )
    max_disk: str = Field("50 GB", description="What all checkpoints of a sweep may take at most.")

    @field_validator("max_disk")
    @classmethod
    def _is_bytes(cls, value: str) -> str:
        parse_bytes(value)
        return value

    @property
    def max_disk_bytes(self) -> int:
        """The bound as a number."""
        return parse_bytes(self.max_disk)


class ResourcesConfig(Frozen):
    """What one run takes."""

    workers: int = Field(1, ge=1, description="Processes of one run (data parallel).")
    cpus: int = Field(1, ge=1, description="Cores, and threads, of each worker.")
    gpus: float = Field(
        0, ge=0, description="GPUs of each worker; below 1 a share of one, else a whole number."
    )

    @field_validator("gpus")
    @classmethod
    def _whole_or_a_share(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("more than one GPU must be a whole number of them")
        return value
