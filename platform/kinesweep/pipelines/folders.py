"""Folders of models and sweeps, by the names that people pass on the command line."""

from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.core.paths import state_home


def sweep_folder(name: str) -> Path:
    """Return the folder of a sweep.

    Raises:
        InputError: If there is no sweep of this name.
    """
    folder = state_home() / "sweeps" / name
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.glob("*")) or ["none"]
        raise InputError(f"there is no sweep `{name}`; existing sweeps: {', '.join(there)}")
    return folder


def model_folder(place: Path) -> Path:
    """Return the model folder of a run, or the folder itself for a model or a bundle."""
    return place / "best" if (place / "best").is_dir() else place
