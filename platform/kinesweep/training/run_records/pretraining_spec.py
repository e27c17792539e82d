"""Specification of a pretraining run, as plain values apart from its recipe."""

from dataclasses import dataclass
from pathlib import Path

from kinesweep.config.pretraining_recipe import PretrainingRecipe


@dataclass(frozen=True)
class PretrainingSpec:
    """The specification of one pretraining run.

    Attributes:
        recipe: Configuration, including `training.seed`.
        store: Folder of the feature store.
        folder: Run folder; its `best` subfolder holds the encoder.
        overwrite: First remove the files of any earlier run from the folder.
    """

    recipe: PretrainingRecipe
    store: Path
    folder: Path
    overwrite: bool = False
