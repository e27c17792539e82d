"""Recipe section `training`.

Its keys have the names of Hugging Face's `Seq2SeqTrainingArguments` where it has an
equivalent.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from kinesweep.config.loading import StrictConfig, select_alternatives
from kinesweep.config.recipe.objectives.loss import CrossEntropyConfig, LossConfig
from kinesweep.config.recipe.objectives.sign_contrastive import SignContrastiveConfig
from kinesweep.config.recipe.objectives.text_alignment import (
    TextAlignmentConfig,
    list_alignment_metrics,
)
from kinesweep.config.recipe.optimization.schedules import ScheduleName, check_schedule_arguments

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
RatedPart = Literal[
    "encoder", "backbone", "backbone_encoder", "backbone_decoder", "embeddings", "lm_head"
]
"""Parts of a translator that can have a learning rate of their own, named as in `model.freeze`."""
_PROJECTOR_NAMES = ("projector", "projectors")
"""Other names of the part `encoder`, as the training stage `projectors` calls it."""


class TrainingConfig(StrictConfig):
    """Settings of the training loop; steps are optimizer steps.

    Of `max_steps` and `num_train_epochs`, of `warmup_steps` and `warmup_ratio`, and of `eval_steps`
    and `eval_epochs`, one has a value and the other is None. `kinesweep.data.run_length` resolves
    all of them to steps.
    """

    stage: Literal["all", "projectors", "lora", "align"] = Field(
        "all",
        description="Trained parts and objective. `projectors`: only the encoders, while the"
        " language model is frozen and has no adapters; `lora`: the adapters too; `all`: everything"
        " that `model` does not freeze. `align` trains these parts too, but aligns clips with texts"
        " (`alignment`) instead of translating; its `best` is what `model.init_from` takes.",
    )
    alignment: TextAlignmentConfig | None = Field(
        None,
        description="Settings of the stage `align`; none: their defaults. Refused in other stages.",
    )
    sign_contrastive: SignContrastiveConfig | None = Field(
        None,
        description="Sign contrastive loss (SignCL), added to the loss of any stage; none: off.",
    )
    loss: LossConfig = Field(
        CrossEntropyConfig(),
        description="Loss of a translation: `cross_entropy`, or the `kind` of an installed part.",
    )
    # Learning rate, AdamW, clipping and seed have the defaults of `TrainingArguments`.
    learning_rate: float = Field(5e-5, gt=0, description="Peak learning rate.")
    learning_rates: dict[RatedPart, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        {},
        description="Part → its own peak learning rate, for parts named as in `model.freeze`;"
        " `projector` is another name of `encoder`. Of two parts that contain a weight, the smaller"
        " one counts. Other parts have `learning_rate`, and the vision model"
        " `model.vision.learning_rate`; the schedule scales all rates.",
        examples=[{"encoder": 2e-3}],
    )
    optim: OptimizerName = Field(
        "adamw_torch_fused",
        description="Optimizer, by its Hugging Face name; those with `bnb`, `paged`, `lion` or"
        " `8bit` need bitsandbytes.",
    )
    lr_scheduler_type: ScheduleName = Field(
        "inverse_sqrt", description="Learning rate schedule, by its Hugging Face name."
    )
    lr_scheduler_kwargs: dict[str, float] = Field(
        {}, description="Further arguments of the schedule, such as `min_lr`."
    )
    warmup_steps: int | None = Field(
        0, ge=0, description="Steps of learning rate warmup from 0; none with `warmup_ratio`."
    )
    warmup_ratio: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Share of all training steps that are warmup; instead of `warmup_steps`.",
    )
    max_steps: int | None = Field(
        10_000,
        ge=1,
        description="Largest number of training steps; none with `num_train_epochs`.",
    )
    num_train_epochs: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Largest number of epochs, also a fraction; instead of `max_steps`. The number"
        " of steps follows from the corpus, the batches, `gradient_accumulation_steps` and the"
        " number of workers, as Hugging Face's Trainer counts it.",
    )
    eval_steps: int | None = Field(
        250,
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
    label_smoothing_factor: float = Field(
        0.0, ge=0, lt=1, description="Share of the target distribution spread over all tokens."
    )
    weight_decay: float = Field(
        0.0, ge=0, description="Decoupled weight decay, not applied to biases and norms."
    )
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="First beta of AdamW.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="Second beta of AdamW.")
    adam_epsilon: float = Field(1e-8, gt=0, description="Epsilon of AdamW.")
    max_grad_norm: float = Field(
        1.0, ge=0, description="Gradient norm above which to clip; 0: no clipping."
    )
    metric_for_best_model: str = Field(
        "bleu",
        min_length=1,
        description="Metric that selects the best checkpoint: `token_loss`, `token_accuracy`, one"
        " of `evaluation.metrics`, or a neural or extra metric that is computed during training."
        " In the stage `align`: `contrastive_loss` (its default), `restoration_loss`,"
        " `sign_contrastive_loss`, or a recall such as `sign_to_text_r1`.",
        examples=["bleu", "chrf", "rouge", "cider", "token_loss"],
    )
    average_checkpoints: int = Field(
        1,
        ge=1,
        description="Number of checkpoints whose weights are averaged for the result: the best one"
        " and those before it. The scores that select the best one are its own.",
    )
    early_stopping_patience: int | None = Field(
        None,
        ge=1,
        description="Evaluations without improvement after which training stops; none: disabled.",
    )
    early_stopping_threshold: float = Field(
        0.0, ge=0, description="Improvement that a score must exceed to reset the patience."
    )
    seed: int = Field(
        42, ge=0, description="Random seed for initialization, dropout and data order."
    )
    auto_find_batch_size: bool = Field(
        False,
        description="If the largest batches do not fit into the memory, compute every batch in 2,"
        " 4, 8 … parts whose gradients are added up. A step keeps its clips, so learning rate and"
        " schedule remain right.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="Numeric precision of the model's computation; `auto`: bf16 on GPUs that have"
        " it, otherwise fp32.",
    )
    activation_checkpointing: bool = Field(
        False, description="Recompute the backbone's activations instead of storing them."
    )
    fsdp: bool = Field(
        False,
        description="Shard weights, gradients and optimizer state over the workers (FSDP2), for"
        " models that do not fit on one; needs `resources.workers` of 2 or more.",
    )

    # Before validation, so that a given epoch or ratio takes the place of the default in steps.
    @model_validator(mode="before")
    @classmethod
    def _select_alternatives(cls, raw_section: Any) -> Any:
        """Return the input with one value for each pair of alternative keys.

        Raises:
            ValueError: If both keys of a pair have a value.
        """
        section = select_alternatives(raw_section)
        if isinstance(section, dict) and section.get("stage") == "align":
            # No text is generated in this stage, so the usual default does not exist.
            section.setdefault("metric_for_best_model", "contrastive_loss")
        return section

    # Before validation, because only the names of `RatedPart` are valid.
    @field_validator("learning_rates", mode="before")
    @classmethod
    def _rename_projectors(cls, rates: Any) -> Any:
        """Return the rates with `encoder` instead of `projector`.

        Raises:
            ValueError: If a part is given under two names, or is the vision model.
        """
        if not isinstance(rates, dict):
            return rates
        if "vision" in rates:
            raise ValueError(
                "the learning rate of the vision model is `model.vision.learning_rate`; set that"
            )
        renamed = {("encoder" if part in _PROJECTOR_NAMES else part): rates[part] for part in rates}
        if len(renamed) < len(rates):
            raise ValueError("`projector` is another name of `encoder`; give one of them")
        return renamed

    @property
    def effective_alignment(self) -> TextAlignmentConfig:
        """Return the settings of the stage `align`: those given, or their defaults."""
        return self.alignment or TextAlignmentConfig()

    @property
    def alignment_metrics(self) -> tuple[str, ...]:
        """Return the scores of an evaluation in the stage `align`; empty in other stages."""
        if self.stage != "align":
            return ()
        has_sign_contrast = self.sign_contrastive is not None
        return list_alignment_metrics(self.effective_alignment, has_sign_contrast)

    def explain_missing_alignment_metric(self, name: str) -> str | None:
        """Return why evaluations in the stage `align` lack a score; None if they have it."""
        if name in self.alignment_metrics:
            return None
        return (
            f"`{name}` is not computed in `training.stage: align`; it has"
            f" {', '.join(self.alignment_metrics)}"
        )

    @property
    def counts_epochs(self) -> bool:
        """Return whether a number of steps depends on the number of batches in an epoch."""
        return self.num_train_epochs is not None or self.eval_epochs is not None

    @model_validator(mode="after")
    def _check_alignment_stage(self) -> "TrainingConfig":
        """Check that `alignment` has an effect, and that its checkpoints are not averaged."""
        if self.stage != "align":
            if self.alignment is not None:
                raise ValueError(
                    f"`alignment` belongs to `stage: align`, but `stage` is `{self.stage}`; remove"
                    " it or change the stage"
                )
            return self
        if self.loss.kind != "cross_entropy":
            raise ValueError(
                f"`loss` is `{self.loss.kind}`, but `stage: align` trains the losses of"
                " `alignment`; leave it out"
            )
        if self.average_checkpoints > 1:
            # The projections of different steps are not averaged with the model.
            raise ValueError(
                "`average_checkpoints` must be 1 in `stage: align`, whose scores need the"
                f" projections of one checkpoint, but is {self.average_checkpoints}"
            )
        return self

    @model_validator(mode="after")
    def _check_scheduler_kwargs(self) -> "TrainingConfig":
        """Check that the schedule accepts all given arguments and gets those that it requires."""
        check_schedule_arguments(self.lr_scheduler_type, self.lr_scheduler_kwargs)
        return self
