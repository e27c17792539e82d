"""A model folder: everything needed for translation, and nothing else of the training.

It holds Hugging Face's files (configuration, safetensors), the tokenizer, `recipe.yaml` and
`features.json`. The latter describes how features were computed from each clip and in which dtype
they were stored, so that raw files can be processed in the same way years later.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kinesweep.checkpoints.checkpoint_averaging import write_averaged_weights
from kinesweep.checkpoints.checkpoints import MANIFEST, PROGRESS, WEIGHTS
from kinesweep.checkpoints.model_dir_files import (
    FEATURES,
    check_model_folder,
    describe_features,
    read_features,
    read_recipe,
    write_recipe,
)
from kinesweep.config.recipe import Recipe
from kinesweep.core.io import write_folder, write_json
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store

# JSON files of a checkpoint that serve resumption only.
_TRAINING_FILES = frozenset({MANIFEST, PROGRESS, "trainer_state.json"})


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model folder.

    Attributes:
        model: Translator in evaluation mode, float32. A 4-bit language model stays in 4 bits where
            the hardware supports it.
        text: Tokenizer of the model.
        recipe: Recipe of its training.
        features: Content of `features.json`.
    """

    model: Translator
    text: TextTokenizer
    recipe: Recipe
    features: dict[str, Any]


def write_model_folder(
    folder: Path, checkpoints: Sequence[Path], text: TextTokenizer, recipe: Recipe, store: Store
) -> None:
    """Write a model folder from one checkpoint or the mean of several, atomically.

    Args:
        folder: Output folder.
        checkpoints: Checkpoints to average; the configuration is taken from the last one.
        text: Tokenizer.
        recipe: Recipe of the run.
        store: Feature store of the run.
    """
    *others, checkpoint = checkpoints

    def copy_weights(temporary_dir: Path) -> None:
        for path in sorted(checkpoint.iterdir()):
            if path.suffix in {".json", ".safetensors"} and path.name not in _TRAINING_FILES:
                shutil.copyfile(path, temporary_dir / path.name)
        if others:
            # Overwrites the copied weights of the last checkpoint.
            write_averaged_weights(checkpoints, temporary_dir / WEIGHTS)

    write_model_folder_with_callback(folder, copy_weights, text, recipe, store)


def write_model_folder_with_callback(
    folder: Path,
    write_weights: Callable[[Path], None],
    text: TextTokenizer,
    recipe: Recipe,
    store: Store,
) -> None:
    """Write a model folder atomically, with weights from a callback.

    Args:
        folder: Output folder.
        write_weights: Function that writes Hugging Face's files into a folder.
        text: Tokenizer.
        recipe: Recipe of the run.
        store: Feature store of the run.
    """

    def write_files(temporary_dir: Path) -> None:
        write_weights(temporary_dir)
        text.save(temporary_dir)
        write_recipe(temporary_dir, recipe)
        write_json(temporary_dir / FEATURES, describe_features(recipe, store))

    write_folder(folder, write_files)


def read_model_folder(folder: Path, device: torch.device | str | None = None) -> LoadedModel:
    """Load a model folder.

    Args:
        folder: Folder from `write_model_folder`, or a bundle.
        device: Device for the model; None: see `Translator.from_pretrained`.

    Raises:
        CheckpointError: If a file is missing or the weights do not match the model exactly.
    """
    check_model_folder(folder)
    return LoadedModel(
        model=Translator.from_pretrained(folder, device=device, dtype=torch.float32).eval(),
        text=TextTokenizer.load(folder),
        recipe=read_recipe(folder),
        features=read_features(folder),
    )
