"""A recipe's `training` as Hugging Face's `Seq2SeqTrainingArguments`.

What we do ourselves is switched off there: label smoothing (theirs smooths over the wrong labels
when a model splices its inputs), batch order, checkpoints' rotation, logging.
"""

from pathlib import Path

import torch
from transformers import Seq2SeqTrainingArguments

from kinesweep.core.recipe.training import TrainingConfig

_SAME_NAME = (
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


def training_arguments(
    config: TrainingConfig, folder: Path, device: torch.device, every_step: bool = False
) -> Seq2SeqTrainingArguments:
    """The arguments of one run.

    Args:
        config: the recipe's part.
        folder: the run's.
        device: `cpu` keeps the Trainer off a GPU that happens to be there.
        every_step: record every step's loss, whatever `logging_steps` says.
    """
    return Seq2SeqTrainingArguments(
        output_dir=str(folder),
        **{name: getattr(config, name) for name in _SAME_NAME},
        logging_steps=1 if every_step else config.logging_steps,
        bf16=config.precision == "bf16",
        fp16=config.precision == "fp16",
        use_cpu=device.type == "cpu",
        eval_strategy="steps",
        save_strategy="steps",
        save_steps=config.eval_steps,
        logging_strategy="steps",
        # One look at every step's loss would cost a synchronisation with the GPU.
        logging_nan_inf_filter=False,
        ignore_data_skip=True,
        remove_unused_columns=False,
        restore_callback_states_from_checkpoint=False,
        disable_tqdm=True,
        report_to="none",
        log_level="error",
    )
