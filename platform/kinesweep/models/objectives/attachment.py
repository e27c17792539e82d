"""The objective of a translator in training: hidden from the saved model, kept in checkpoints.

An objective's weights are trained, sharded and resumed with the model's, but a model folder must
not depend on them. They are hidden while the model is saved or loaded, and checkpoints hold them in
a file of their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel

from kinesweep.core.checkpoint_files import OBJECTIVE_FILENAME
from kinesweep.core.errors import CheckpointError, format_one_line
from kinesweep.models.checkpoint_io import load_checkpoint_weights


@contextmanager
def detach_objective(model: nn.Module) -> Iterator[None]:
    """Hide the objective of a model, if it has one, so that only the model's weights remain."""
    objective = model._modules.get("objective")
    # None instead of a deletion, which would change the order of the modules.
    model._modules["objective"] = None
    try:
        yield
    finally:
        model._modules["objective"] = objective


def collect_objective_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model's objective by name; empty if it has none."""
    objective = model._modules.get("objective")
    return {} if objective is None else dict(objective.state_dict())


def load_objective(model: nn.Module, folder: Path) -> None:
    """Load the weights of a model's objective, strictly; nothing if it has none.

    Args:
        model: Translator with the objective.
        folder: Folder of a checkpoint.

    Raises:
        CheckpointError: If the file is missing or does not hold exactly these weights.
    """
    objective = model._modules.get("objective")
    # An objective without weights wrote no file.
    if objective is None or not objective.state_dict():
        return
    path = folder / OBJECTIVE_FILENAME
    try:
        objective.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = format_one_line(error)
        raise CheckpointError(
            f"`{path}` does not hold the weights of the training objective: {reason}"
        ) from None


def load_training_weights(model: PreTrainedModel, folder: Path) -> None:
    """Load the weights of a checkpoint into a translator and its objective, strictly.

    Args:
        model: Translator, with the objective of the run if it has one.
        folder: Folder of the checkpoint.

    Raises:
        CheckpointError: See `load_checkpoint_weights` and `load_objective`.
    """
    with detach_objective(model):
        load_checkpoint_weights(model, folder)
    load_objective(model, folder)
