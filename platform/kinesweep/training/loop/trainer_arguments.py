"""Conversion of the recipe's `training` section to Hugging Face's `Seq2SeqTrainingArguments`.

Features that the platform implements itself are switched off: label smoothing (the Trainer's
version smooths over the wrong labels when a model splices its inputs), batch order, checkpoint
rotation and logging.
"""

from pathlib import Path

import torch
from transformers import Seq2SeqTrainingArguments

from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig

# Keys that have the same name and meaning in the recipe and in `Seq2SeqTrainingArguments`.
_SHARED_KEYS = (
    "learning_rate",
    "optim",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "activation_checkpointing",
    "warmup_steps",
    "max_steps",
    "eval_steps",
    "gradient_accumulation_steps",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "seed",
)


def build_training_arguments(
    config: ResolvedTrainingConfig,
    folder: Path,
    device: torch.device,
    log_every_step: bool = False,
) -> Seq2SeqTrainingArguments:
    """Build the arguments of Hugging Face's Trainer for one run.

    Args:
        config: The recipe's `training` section, with epochs and ratios resolved to steps.
        folder: Run folder, which becomes the Trainer's output folder.
        device: Device of the model; the CPU keeps the Trainer off an available GPU.
        log_every_step: Whether to log the loss of every step, regardless of `logging_steps`.
    """
    skips_decoder = config.stage == "align" and config.effective_alignment.restoration is None
    return Seq2SeqTrainingArguments(
        output_dir=str(folder),
        **{name: getattr(config, name) for name in _SHARED_KEYS},
        logging_steps=1 if log_every_step else config.logging_steps,
        bf16=config.precision == "bf16",
        fp16=config.precision == "fp16",
        use_cpu=device.type == "cpu",
        eval_strategy="steps",
        save_strategy="steps",
        # A checkpoint follows each evaluation, so both use the same interval.
        save_steps=config.eval_steps,
        logging_strategy="steps",
        # The NaN filter reads the loss at every step, which would force a synchronization with the
        # GPU.
        logging_nan_inf_filter=False,
        # `StepDataLoader` starts at the right batch itself; the Trainer would otherwise skip
        # batches again.
        ignore_data_skip=True,
        # With activation checkpointing, the Trainer would expect gradients of all weights.
        ddp_find_unused_parameters=True if skips_decoder else None,
        # The stream yields ready keyword arguments, not columns of a dataset.
        remove_unused_columns=False,
        # The stop flag must come from `TrainingProgress`, not from the Trainer's saved control.
        restore_callback_states_from_checkpoint=False,
        disable_tqdm=True,
        report_to="none",
        log_level="error",
    )
