"""The result of a pretraining run: the encoder as `signhiera` loads it, and the rest beside it."""

import shutil
from pathlib import Path

import yaml
from safetensors.torch import load_file, save_file

from kinesweep.checkpoints.checkpoints import get_checkpoint_folder
from kinesweep.checkpoints.model_dir_files import RECIPE_FILENAME
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.checkpoint_files import OBJECTIVE_FILENAME, WEIGHTS_FILENAME
from kinesweep.core.hashing import compute_file_sha256
from kinesweep.core.io import write_folder, write_json, write_text
from kinesweep.data.windows.captions import CaptionTokenizer
from kinesweep.features.encoders.signhiera_network import write_signhiera
from kinesweep.models.pretraining.objective import PretrainingObjective
from kinesweep.training.run_records.clip_sums import CLIP_SUMS_FILENAME

_PRETRAINING_FILENAME = "pretraining.json"
_TOKENIZER_DIR = "text_tokenizer"


def write_best_encoder(
    folder: Path,
    recipe: PretrainingRecipe,
    objective: PretrainingObjective,
    checkpoints_dir: Path,
    progress: TrainingProgress,
    store_fingerprint: str,
    *,
    captions: CaptionTokenizer | None = None,
) -> str:
    """Write the weights of the best checkpoint to a folder, atomically.

    `model.safetensors` holds the encoder under the names of the encoder `signhiera`, with its
    geometry as metadata; `objective.safetensors` holds all other weights. The scores of the
    validation clips are copied from the checkpoint.

    Args:
        folder: Output folder.
        recipe: Configuration, written as `recipe.yaml`.
        objective: Objective, which is moved to the CPU and gets the best weights.
        checkpoints_dir: Folder of all checkpoints of the run.
        progress: Final state of the run, with a best step.
        store_fingerprint: Fingerprint of the feature store.
        captions: Tokenizer of the texts, written to `text_tokenizer`; None if there are none.

    Returns:
        SHA-256 of the file with the encoder.
    """
    assert progress.best_step is not None
    checkpoint_dir = get_checkpoint_folder(checkpoints_dir, progress.best_step)
    # On the CPU, so that files do not depend on the device of the run.
    objective.cpu().load_state_dict(load_file(checkpoint_dir / WEIGHTS_FILENAME))
    metadata = {
        "objective": recipe.objective.kind,
        "step": progress.best_step,
        "scores": progress.best_scores,
        "store_fingerprint": store_fingerprint,
    }

    def write_files(staging_dir: Path) -> None:
        """Write all files of the folder."""
        write_signhiera(objective.encoder, staging_dir / WEIGHTS_FILENAME)
        others = objective.get_other_weights()
        save_file(
            {name: value.contiguous() for name, value in others.items()},
            staging_dir / OBJECTIVE_FILENAME,
        )
        values = recipe.model_dump(mode="json")
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        write_text(staging_dir / RECIPE_FILENAME, text)
        write_json(staging_dir / _PRETRAINING_FILENAME, metadata)
        shutil.copyfile(checkpoint_dir / CLIP_SUMS_FILENAME, staging_dir / CLIP_SUMS_FILENAME)
        if captions is not None:
            # A trained one exists nowhere else, and the text tower is of no use without it.
            captions.save(staging_dir / _TOKENIZER_DIR)

    write_folder(folder, write_files)
    # Of the published file, after the folder was moved into place.
    return compute_file_sha256(folder / WEIGHTS_FILENAME)
