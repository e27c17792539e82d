"""Numbers of steps as Hugging Face's Trainer and accelerate count them themselves."""

from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments


def count_trainer_steps(
    arguments: dict[str, Any], num_clips: int, num_workers: int, folder: Path
) -> tuple[int, int]:
    """Steps in all and of warmup of a training with these arguments, for one of the workers."""
    training = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to="none", **arguments
    )
    trainer = Trainer(torch.nn.Linear(1, 1), training, train_dataset=list(range(num_clips)))
    own_loader = trainer.get_train_dataloader()
    plain_loader = DataLoader(
        range(num_clips),  # type: ignore[arg-type]
        batch_size=own_loader.batch_sampler.batch_size,
        drop_last=own_loader.batch_sampler.drop_last,
    )
    loader = prepare_data_loader(plain_loader, num_processes=num_workers, process_index=0)
    *_, max_steps = trainer.set_initial_training_values(training, loader)
    return max_steps, training.get_warmup_steps(max_steps)
