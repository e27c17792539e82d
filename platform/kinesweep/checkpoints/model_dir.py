"""A model folder: everything needed for translation, and nothing else of the training.

It holds Hugging Face's files (configuration, safetensors), the tokenizer, `recipe.yaml` and
`features.json`. The latter describes how features were computed from each clip and in which dtype
they were stored, so that raw files can be processed in the same way years later.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kinesweep.checkpoints.checkpoint_averaging import write_averaged_weights
from kinesweep.checkpoints.checkpoints import MANIFEST_FILENAME, PROGRESS_FILENAME
from kinesweep.checkpoints.model_dir_files import (
    FEATURES_FILENAME,
    check_model_folder,
    describe_features,
    read_feature_description,
    read_recipe,
    write_recipe,
)
from kinesweep.config.recipe import Recipe
from kinesweep.core.checkpoint_files import OBJECTIVE_FILENAME, WEIGHTS_FILENAME
from kinesweep.core.errors import CheckpointError, KinesweepError
from kinesweep.core.io import write_folder, write_json
from kinesweep.core.schema import StreamSchema
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store

# Files of a checkpoint that serve training only.
_TRAINING_FILES = frozenset(
    {MANIFEST_FILENAME, PROGRESS_FILENAME, "trainer_state.json", OBJECTIVE_FILENAME}
)


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model folder.

    Attributes:
        model: Translator in evaluation mode, float32. A 4-bit language model stays in 4 bits where
            the hardware supports it.
        tokenizer: Tokenizer of the model.
        recipe: Recipe of its training.
        features: Content of `features.json`.
    """

    model: Translator
    tokenizer: TextTokenizer
    recipe: Recipe
    features: dict[str, Any]


def write_model_folder(
    folder: Path,
    checkpoint_dirs: Sequence[Path],
    tokenizer: TextTokenizer,
    recipe: Recipe,
    store: Store,
) -> None:
    """Write a model folder with the weights of one checkpoint or the mean of several, atomically.

    Args:
        folder: Output folder.
        checkpoint_dirs: Folders of the checkpoints to average; the configuration of the model is
            taken from the last one.
        tokenizer: Tokenizer of the model.
        recipe: Recipe of the run; it is written to the folder as a whole.
        store: Feature store of the run.
    """
    last_checkpoint_dir = checkpoint_dirs[-1]

    def write_weights(temporary_dir: Path) -> None:
        """Copy the files of the last checkpoint, then average the weights of all checkpoints."""
        for path in sorted(last_checkpoint_dir.iterdir()):
            if path.suffix in {".json", ".safetensors"} and path.name not in _TRAINING_FILES:
                shutil.copyfile(path, temporary_dir / path.name)
        if len(checkpoint_dirs) > 1:
            # Overwrites the copied weights of the last checkpoint.
            write_averaged_weights(checkpoint_dirs, temporary_dir / WEIGHTS_FILENAME)

    write_model_folder_with_callback(
        folder, write_weights, tokenizer, recipe, store.fingerprint, store.schema.streams
    )


def write_model_folder_with_callback(
    folder: Path,
    write_weights: Callable[[Path], None],
    tokenizer: TextTokenizer,
    recipe: Recipe,
    store_fingerprint: str,
    streams: Mapping[str, StreamSchema],
) -> None:
    """Write a model folder atomically, with weights from a callback.

    Args:
        folder: Output folder.
        write_weights: Function that writes Hugging Face's files (configuration and weights) into
            the folder that it gets.
        tokenizer: Tokenizer of the model.
        recipe: Recipe of the run; it is written to the folder as a whole.
        store_fingerprint: Fingerprint of the feature store; empty if the store is not known.
        streams: Name of each feature stream that the model was trained on → its schema.
    """
    features = describe_features(
        recipe.to_portable().features,
        getattr(recipe.corpora[0], "person", 0),
        recipe.store.dtype,
        store_fingerprint,
        streams,
    )

    def write_files(temporary_dir: Path) -> None:
        """Write all files of the model folder into a temporary folder."""
        write_weights(temporary_dir)
        tokenizer.save(temporary_dir)
        write_recipe(temporary_dir, recipe)
        write_json(temporary_dir / FEATURES_FILENAME, features)

    write_folder(folder, write_files)


def read_model_folder(folder: Path, device: torch.device | str | None = None) -> LoadedModel:
    """Load the model of a model folder with its tokenizer, recipe and description of features.

    Args:
        folder: Folder from `write_model_folder`, or a bundle.
        device: Device for the model; None: the device that `Translator.from_pretrained` chooses.

    Raises:
        CheckpointError: If a file is missing or the weights do not match the model exactly.
        ConfigError: If the recipe is not valid.
    """
    check_model_folder(folder)
    return LoadedModel(
        model=_load_translator(folder, device),
        tokenizer=TextTokenizer.load(folder),
        recipe=read_recipe(folder),
        features=read_feature_description(folder),
    )


def _load_translator(folder: Path, device: torch.device | str | None) -> Translator:
    """Load the model of a checked model folder in float32, in evaluation mode.

    Raises:
        CheckpointError: If its configuration describes no model, or the weights do not match it.
    """
    try:
        return Translator.from_pretrained(folder, device=device, dtype=torch.float32).eval()
    except (KinesweepError, ImportError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        # transformers raises errors of many types, plain `Exception` among them, for a value in
        # `config.json` that it does not expect. The cause stays attached for whoever debugs.
        reason = str(error).strip().split("\n")[0][:200]
        raise CheckpointError(
            f"the model in `{folder}` cannot be built from its `config.json`"
            f" ({type(error).__name__}: {reason}); copy the folder again, or export the model again"
        ) from error
