"""Recipe parts `training`, `generation`, `checkpoints` and `resources`.

Keys of `training` are names of Hugging Face's `Seq2SeqTrainingArguments` wherever it has them.
"""

from typing import Literal

from pydantic import Field, field_validator

from kinesweep.core.config import Frozen
from kinesweep.core.units import parse_bytes


class TrainingConfig(Frozen):
    """How weights are learnt. Steps are optimiser steps."""

    learning_rate: float = Field(5e-5, gt=0, description="Peak learning rate.")
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt", "polynomial"
    ] = Field("inverse_sqrt", description="Course of the learning rate.")
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
    metric_for_best_model: Literal["bleu", "chrf", "rouge", "token_loss"] = Field(
        "bleu", description="What the best checkpoint is best in."
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


class GenerationConfig(Frozen):
    """How text is decoded."""

    num_beams: int = Field(5, ge=1, description="Beams; 1 is greedy.")
    max_new_tokens: int = Field(
        100, ge=1, description="Tokens at the most, forced prompt included."
    )
    length_penalty: float = Field(
        1.0, description="Exponent of the length; above 0 favours long text."
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
