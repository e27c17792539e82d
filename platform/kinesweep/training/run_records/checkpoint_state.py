"""The state of a run in a checkpoint, in the files and under the names of Hugging Face's Trainer.

Hugging Face's methods collect and write in one go, so the collecting is done here: training waits
for it and for a copy, but not for the files. The bytes of all files are those that Hugging Face
writes (`tests/unit/training/loop/test_background_checkpoints.py`).
"""

import dataclasses
import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import TrainerState
from transformers.trainer import OPTIMIZER_NAME, SCALER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME

from kinesweep.checkpoints.checkpoint_content import CheckpointContent
from kinesweep.core.checkpoint_files import OBJECTIVE_FILENAME, WEIGHTS_FILENAME
from kinesweep.core.collectives import all_gather
from kinesweep.models.checkpoint_io import collect_saved_weights, format_saved_configs
from kinesweep.models.objectives.attachment import collect_objective_weights, detach_objective
from kinesweep.models.translator import Translator


def collect_states(
    optimizer_state: Any, scheduler: Any, scaler: Any | None, is_distributed: bool
) -> dict[str, Any]:
    """Collect all states but those of model and Trainer, by file name; a collective call.

    Args:
        optimizer_state: Full state dict of the optimizer.
        scheduler: Scheduler of the learning rate.
        scaler: Gradient scaler; None without fp16.
        is_distributed: Whether the Trainer trains in several processes; it then reads the generator
            states of all GPUs that a process sees.
    """
    states = {OPTIMIZER_NAME: optimizer_state, SCHEDULER_NAME: scheduler.state_dict()}
    if scaler is not None:
        states[SCALER_NAME] = scaler.state_dict()
    rng_states = all_gather(_get_rng_state(is_distributed))
    for rank, rng_state in enumerate(rng_states):
        # Hugging Face numbers the files only if there are several.
        suffix = f"_{rank}" if len(rng_states) > 1 else ""
        states[f"rng_state{suffix}.pth"] = rng_state
    return states


def build_checkpoint_content(
    model: Translator, trainer_state: TrainerState, states: Mapping[str, Any]
) -> CheckpointContent:
    """Build the content of a checkpoint; its tensors share memory with the model and its states.

    Args:
        model: Model with all its weights.
        trainer_state: State of Hugging Face's Trainer.
        states: Result of `collect_states`.
    """
    state_text = json.dumps(dataclasses.asdict(trainer_state), indent=2, sort_keys=True) + "\n"
    with detach_objective(model):
        weights = {WEIGHTS_FILENAME: collect_saved_weights(model)}
        texts = {**format_saved_configs(model), TRAINER_STATE_NAME: state_text}
    if objective_weights := collect_objective_weights(model):
        weights[OBJECTIVE_FILENAME] = objective_weights
    # Hugging Face refuses to load weights without this entry.
    metadata = {WEIGHTS_FILENAME: {"format": "pt"}}
    return CheckpointContent(weights, metadata, states, texts)


def _get_rng_state(is_distributed: bool) -> dict[str, Any]:
    """Return the states of all random number generators of this process.

    Args:
        is_distributed: See `collect_states`.
    """
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "cpu": torch.random.get_rng_state(),
    }
    if torch.cuda.is_available():
        read_state: Any = torch.cuda.random.get_rng_state
        if is_distributed:
            read_state = torch.cuda.random.get_rng_state_all
        state["cuda"] = read_state()
    return state
