"""The weights of a run's training objective, kept beside its best model for later evaluations.

A model in the stage `align` is scored by its projections, which are no part of the model folder
`best`. Its run folder therefore holds those of the best checkpoint in `objective/`.
"""

import shutil
from pathlib import Path

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.core.checkpoint_files import OBJECTIVE_FILENAME
from kinesweep.core.errors import CheckpointError
from kinesweep.core.io import write_folder
from kinesweep.models.objectives.attachment import load_objective
from kinesweep.models.objectives.selection import attach_objective

_OBJECTIVE_DIR = "objective"


def copy_objective(checkpoint_dir: Path, model_dir: Path) -> None:
    """Copy the weights of the objective of a checkpoint to the run folder of a model folder.

    Does nothing if the checkpoint has none.

    Args:
        checkpoint_dir: Folder of the checkpoint.
        model_dir: Model folder of the run; it need not exist yet.
    """
    path = checkpoint_dir / OBJECTIVE_FILENAME
    if not path.is_file():
        return

    def write_weights(temporary_dir: Path) -> None:
        """Copy the weights into a temporary folder."""
        shutil.copyfile(path, temporary_dir / OBJECTIVE_FILENAME)

    # Beside the model folder, which must remain loadable by Hugging Face and holds no other
    # weights.
    write_folder(model_dir.parent / _OBJECTIVE_DIR, write_weights)


def attach_run_objective(loaded: LoadedModel, model_dir: Path) -> None:
    """Attach the objective by which a model in the stage `align` is scored; nothing in others.

    Args:
        loaded: Model, which is changed in place.
        model_dir: Its model folder, inside the run folder.

    Raises:
        CheckpointError: If the run folder does not hold the weights of the objective.
    """
    training = loaded.recipe.training
    if training.stage != "align":
        return
    folder = model_dir.parent / _OBJECTIVE_DIR
    if not (folder / OBJECTIVE_FILENAME).is_file():
        raise CheckpointError(
            f"`{model_dir}` was trained in `training.stage: align` and does not translate yet; it"
            f" is scored with the projections in `{folder}`, which do not exist. Give the run"
            " folder, or train a translation with this model in `model.init_from`."
        )
    device = loaded.model.device
    # The modules come first: they have random weights, which loading replaces.
    attach_objective(loaded.model, training)
    load_objective(loaded.model, folder)
    # Not the whole model: weights in 4 bits cannot be moved.
    if loaded.model.objective is not None:
        loaded.model.objective.to(device).eval()
