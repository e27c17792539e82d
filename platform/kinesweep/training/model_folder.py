"""A model folder: all that is needed to translate, and nothing of how it was trained.

Hugging Face's files (configuration, safetensors), the tokenizer, `recipe.yaml` and
`features.json`, which says what was computed from each clip and in which type it was stored, so
that a raw file can be given the same features years later.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kinesweep.batches.text import Text
from kinesweep.core.recipe import Recipe
from kinesweep.models.translator import Translator
from kinesweep.store.reader import Store
from kinesweep.training.averaging import write_mean
from kinesweep.training.checkpoints import MANIFEST, PROGRESS, WEIGHTS
from kinesweep.training.files import write_folder, write_json
from kinesweep.training.model_files import (
    FEATURES,
    check_model_folder,
    describe_features,
    read_features,
    read_recipe,
    write_recipe,
)

_OF_TRAINING = frozenset({MANIFEST, PROGRESS, "trainer_state.json"})


@dataclass(frozen=True)
class ModelFolder:
    """A loaded model folder.

    Attributes:
        model: in evaluation mode, float32; a language model held in 4 bits is so where it can be.
        text: its tokenizer.
        recipe: what it was trained with.
        features: the content of `features.json`.
    """

    model: Translator
    text: Text
    recipe: Recipe
    features: dict[str, Any]


def write_model_folder(
    folder: Path, checkpoints: Sequence[Path], text: Text, recipe: Recipe, store: Store
) -> None:
    """Makes a model folder of a checkpoint, or of the mean of several, in one step."""
    *others, checkpoint = checkpoints

    def weights(beside: Path) -> None:
        for path in sorted(checkpoint.iterdir()):
            if path.suffix in {".json", ".safetensors"} and path.name not in _OF_TRAINING:
                shutil.copyfile(path, beside / path.name)
        if others:
            write_mean(checkpoints, beside / WEIGHTS)

    write_folder_of(folder, weights, text, recipe, store)


def write_folder_of(
    folder: Path, weights: Callable[[Path], None], text: Text, recipe: Recipe, store: Store
) -> None:
    """Makes a model folder in one step; `weights` writes Hugging Face's files."""

    def fill(beside: Path) -> None:
        weights(beside)
        text.save(beside)
        write_recipe(beside, recipe)
        write_json(beside / FEATURES, describe_features(recipe, store))

    write_folder(folder, fill)


def read_model_folder(folder: Path, device: torch.device | str | None = None) -> ModelFolder:
    """Loads a model folder.

    Args:
        folder: what `write_model_folder` wrote, or a bundle.
        device: where the model goes; None: see `Translator.from_pretrained`.

    Raises:
        CheckpointError: a file is missing, or the weights are not exactly the model's.
    """
    check_model_folder(folder)
    return ModelFolder(
        model=Translator.from_pretrained(folder, device=device, dtype=torch.float32).eval(),
        text=Text.load(folder),
        recipe=read_recipe(folder),
        features=read_features(folder),
    )
