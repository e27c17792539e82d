"""Pretraining for commands: from a pretraining recipe to the weights of a video model."""

import logging
from functools import partial
from pathlib import Path

from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.paths import get_state_dir
from kinesweep.models.pretraining.factory import check_model
from kinesweep.pipelines.extraction import extract_features
from kinesweep.pipelines.tracking import RunLogOpener, check_trackers, create_tracker
from kinesweep.pipelines.training import log_evaluation, remove_run
from kinesweep.training.pretraining.run import PretrainingSpec, pretrain_run
from kinesweep.training.run_records.result import RunResult
from kinesweep.training.run_records.run_failure import train_or_raise

logger = logging.getLogger(__name__)


def pretrain_recipe(
    recipe: PretrainingRecipe, folder: Path | None, overwrite: bool, on_ray: bool
) -> RunResult:
    """Pretrain a video model on a `TorchTrainer` or in this process and return the result.

    An interrupted run is resumed; a finished run is not trained again. Logs what `extract_features`
    and `create_tracker` log, and in this process the scores of each evaluation.

    Args:
        recipe: Recipe of the run.
        folder: Run folder; None: a folder named after recipe, data and seed.
        overwrite: Whether an existing run is removed first.
        on_ray: Whether extraction and training use Ray.

    Raises:
        CheckpointError: If the folder belongs to another run, another process works in it, or
            `model.init_from` cannot be used.
        ConfigError: If the sizes of the model cannot be used.
        InputError: If the folder to remove is not a run folder, or if windows, frames and model do
            not fit together.
        ResourceError: If no GPU is available, if the cluster can never hold the workers, or if the
            memory is too small.
        SourceError: If the corpus as a whole is invalid.
        StoreError: If too many clips are dropped or if there is too little disk space.
        TrackingError: If a tracker that `tracking` names cannot be used.
        TrainingError: If the run diverged or its workers were killed twice.
    """
    # Before the extraction, which may take hours.
    check_trackers(recipe.tracking)
    # Extraction may take hours, so what the model does not fit is reported before it.
    check_model(recipe.objective, recipe.model, recipe.batch, recipe.features.size)
    corpus_recipe = recipe.corpus_recipe
    store = extract_features(corpus_recipe, on_ray)
    name = f"{recipe.name}-{recipe.compute_config_hash(store.fingerprint)}-s{recipe.training.seed}"
    # Workers of Ray have another working directory.
    run_dir = (folder or get_state_dir() / "runs" / name).absolute()
    if overwrite:
        remove_run(run_dir)
    tracker = create_tracker(corpus_recipe, recipe.name, run_dir)
    # A function that opens the log, not the log: on Ray, it is opened in the worker's process.
    open_log = partial(RunLogOpener(tracker, recipe), run_dir, name, "pretrain", {})
    spec = PretrainingSpec(recipe, store.folder, run_dir)
    peak_rate = recipe.training.compute_peak_learning_rate(recipe.windows_per_step)
    if on_ray:
        from kinesweep.training.distributed.ray_train import train_on_ray

        return train_or_raise(lambda: train_on_ray(spec, open_log), peak_rate)
    return train_or_raise(lambda: pretrain_run(spec, open_log(), log_evaluation), peak_rate)
