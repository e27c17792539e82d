"""Training for commands: one run of a recipe, on Ray or in this process."""

import logging
import shutil
from functools import partial
from pathlib import Path

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.paths import state_home
from kinesweep.core.scores import format_scores
from kinesweep.pipelines.extraction import get_or_extract_features
from kinesweep.pipelines.tracking import LogOpener, create_tracker
from kinesweep.store import Store
from kinesweep.training.run_records.result import RunResult, RunSpec

logger = logging.getLogger(__name__)


def train_recipe(recipe: Recipe, folder: Path | None, overwrite: bool, on_ray: bool) -> RunResult:
    """Train one run on a `TorchTrainer` or in this process, with bit-identical results.

    Args:
        recipe: Recipe of the run.
        folder: Run folder; None: a folder named after recipe, data and seed.
        overwrite: Whether an existing run is removed; otherwise it is resumed.
        on_ray: Whether extraction and training use Ray.
    """
    from kinesweep.training.distributed.ray_train import train_on_ray
    from kinesweep.training.loop.run import train_run

    store = get_or_extract_features(recipe, on_ray)
    name = run_name(recipe, store)
    place = (folder or state_home() / "runs" / name).absolute()
    if overwrite:
        remove_run(place)
    spec = RunSpec(recipe, store.folder, place)
    logs = create_tracker(recipe, recipe.name, place)
    # A function that opens the log, not the log: on Ray, it is opened in the worker's process.
    open_log = partial(LogOpener(logs, recipe), place, name, "train", {})
    if on_ray:
        return train_on_ray(spec, open_log)
    return train_run(spec, open_log(), log_evaluation)


def write_untrained_model(recipe: Recipe, folder: Path | None, on_ray: bool) -> Path:
    """Write the untrained model that a run of the recipe starts from and return its folder.

    Args:
        recipe: Recipe of the run.
        folder: Output folder; None: a folder named after recipe, data and seed.
        on_ray: Whether extraction uses Ray.

    Raises:
        InputError: If the folder already exists.
    """
    from kinesweep.training.loop.run import write_first_model

    store = get_or_extract_features(recipe, on_ray)
    place = (folder or state_home() / "first" / run_name(recipe, store)).absolute()
    if place.exists():
        raise InputError(f"`{place}` already exists; pass another `--folder`")
    write_first_model(recipe, store, place)
    return place


def run_name(recipe: Recipe, store: Store) -> str:
    """Return the name of a run: recipe, configuration hash and seed."""
    return f"{recipe.name}-{recipe.config_hash(store.fingerprint)}-s{recipe.training.seed}"


def remove_run(folder: Path) -> None:
    """Remove a run folder if it exists.

    Raises:
        InputError: If the folder is not a run folder.
    """
    # `--folder` may name anything; a folder without `run.json` must never be deleted.
    if folder.exists() and not (folder / "run.json").is_file():
        raise InputError(f"`{folder}` has no `run.json`, so it is not a run and is not removed")
    shutil.rmtree(folder, ignore_errors=True)


def log_evaluation(metrics: dict[str, float]) -> bool:
    """Print an evaluation of a run in this process; return True, so that the run continues."""
    at = [f"{name} {metrics[name]:,.0f}" for name in ("step", "samples") if name in metrics]
    scores = {name: value for name, value in metrics.items() if name not in ("step", "samples")}
    logger.info(f"{', '.join(at)}: {format_scores(scores)}")
    return True
