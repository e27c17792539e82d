"""Training for commands: a run of a recipe, on Ray or in this process, or its untrained model."""

import logging
import shutil
from functools import partial
from pathlib import Path

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.sources.required_texts import check_texts_are_required
from kinesweep.core.errors import InputError
from kinesweep.core.paths import get_state_dir
from kinesweep.core.scores import format_scores
from kinesweep.data.run_length.step_counts import resolve_training
from kinesweep.pipelines.extraction import extract_features
from kinesweep.pipelines.tracking import RunLogOpener, check_trackers, create_tracker
from kinesweep.store import Store
from kinesweep.training.run_records.result import RunResult, RunSpec
from kinesweep.training.run_records.run_failure import train_or_raise

logger = logging.getLogger(__name__)


def train_recipe(recipe: Recipe, folder: Path | None, overwrite: bool, on_ray: bool) -> RunResult:
    """Train one run of a recipe on a `TorchTrainer` or in this process and return its result.

    A run that failed is an error, also if it failed in an earlier call.

    Both ways give bit-identical results. Logs what `extract_features` and `create_tracker` log, the
    numbers of steps, and in this process the scores of each evaluation.

    Args:
        recipe: Recipe of the run.
        folder: Run folder; None: a folder named after recipe, data and seed.
        overwrite: Whether an existing run is removed; otherwise it is resumed.
        on_ray: Whether extraction and training use Ray.

    Raises:
        CheckpointError: If the folder belongs to another run, or if `model.init_from` does not fit
            the model.
        ConfigError: If a corpus may contain clips without texts.
        InputError: If the folder to remove is not a run folder, or if the recipe cannot be trained
            on the clips.
        ResourceError: If no GPU is available, if the cluster can never hold the workers, or if the
            disk or the memory is too small.
        SourceError: If the corpus as a whole is invalid.
        StoreError: If too many clips are dropped or if there is too little disk space.
        TrackingError: If a tracker that `tracking` names cannot be used.
        TrainingError: If the run diverged or its workers were killed twice.
    """
    check_trackers(recipe.tracking)
    # Here too, because an extraction for nothing may take hours.
    check_texts_are_required(recipe.corpora)
    store = extract_features(recipe, on_ray)
    training = resolve_training(recipe, store, recipe.resources.workers if on_ray else 1)
    logger.info(f"training for at most {training.format_step_counts()}")
    name = make_run_name(recipe, store)
    run_dir = (folder or get_state_dir() / "runs" / name).absolute()
    if overwrite:
        remove_run(run_dir)
    spec = RunSpec(recipe, store.folder, run_dir)
    tracker = create_tracker(recipe, recipe.name, run_dir)
    # A function that opens the log, not the log: on Ray, it is opened in the worker's process.
    open_log = partial(RunLogOpener(tracker, recipe), run_dir, name, "train", {})
    if on_ray:
        from kinesweep.evaluation.tokenization.coverage import format_share_warnings
        from kinesweep.training.distributed.ray_train import train_on_ray

        result = train_or_raise(lambda: train_on_ray(spec, open_log), recipe.training.learning_rate)
        # What the worker warned about before its first step went to its own log.
        for warning in format_share_warnings(result.text_coverage):
            logger.warning(warning)
        return result
    # Imported here, as above, because Ray and PyTorch take seconds.
    from kinesweep.training.loop.run import train_run

    return train_or_raise(
        lambda: train_run(spec, open_log(), log_evaluation), recipe.training.learning_rate
    )


def write_untrained_model(recipe: Recipe, folder: Path | None, on_ray: bool) -> Path:
    """Write the untrained model that a run of the recipe starts from and return its folder.

    Logs what `extract_features` logs.

    Args:
        recipe: Recipe of the run.
        folder: Output folder; None: a folder named after recipe, data and seed.
        on_ray: Whether extraction uses Ray.

    Raises:
        CheckpointError: If `model.init_from` does not fit the model.
        InputError: If the folder already exists.
        ResourceError: If the recipe requests a GPU but none is available.
        SourceError: If the corpus as a whole is invalid.
        StoreError: If too many clips are dropped or if there is too little disk space.
    """
    from kinesweep.training.loop.run import write_initial_model

    store = extract_features(recipe, on_ray)
    output_dir = (folder or get_state_dir() / "first" / make_run_name(recipe, store)).absolute()
    if output_dir.exists():
        raise InputError(f"`{output_dir}` already exists; pass another `--folder`")
    write_initial_model(recipe, store, output_dir)
    return output_dir


def make_run_name(recipe: Recipe, store: Store) -> str:
    """Make the name of a run, `RECIPE-HASH-sSEED`, from its recipe and the data of its store."""
    return f"{recipe.name}-{recipe.compute_config_hash(store.fingerprint)}-s{recipe.training.seed}"


def remove_run(folder: Path) -> None:
    """Remove a run folder if it exists; files that cannot be removed stay without an error.

    Raises:
        InputError: If the folder is not a run folder.
    """
    # `--folder` may name anything; a folder without `run.json` must never be deleted.
    if folder.exists() and not (folder / "run.json").is_file():
        raise InputError(f"`{folder}` has no `run.json`, so it is not a run and is not removed")
    shutil.rmtree(folder, ignore_errors=True)


def log_evaluation(metrics: dict[str, float]) -> bool:
    """Log the scores of an evaluation during training.

    Args:
        metrics: Scores of the evaluation, and the `step` and the `samples` at which it took place.

    Returns:
        True, which tells the training loop to continue.
    """
    progress = [f"{name} {metrics[name]:,.0f}" for name in ("step", "samples") if name in metrics]
    scores = {name: value for name, value in metrics.items() if name not in ("step", "samples")}
    logger.info(f"{', '.join(progress)}: {format_scores(scores)}")
    return True
