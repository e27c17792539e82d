"""Frame embedder training for commands: from an embedding recipe to a folder for `features`."""

from functools import partial
from pathlib import Path

from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.extraction import extract_features
from kinesweep.pipelines.tracking import RunLogOpener, check_trackers, create_tracker
from kinesweep.pipelines.training import log_evaluation, remove_run
from kinesweep.training.frame_embedding.run import EmbedderSpec, train_embedder
from kinesweep.training.run_records.result import RunResult
from kinesweep.training.run_records.run_failure import train_or_raise


def train_embedding_recipe(
    recipe: EmbeddingRecipe, folder: Path | None, overwrite: bool, on_ray: bool
) -> RunResult:
    """Train a frame embedder in this process and return the result of the run.

    An interrupted run is resumed; a finished run is not trained again. Logs what `extract_features`
    and `create_tracker` log, and the scores of each evaluation.

    Args:
        recipe: Recipe of the embedder.
        folder: Run folder; None: a folder named after recipe, data and seed.
        overwrite: Whether an existing run is removed first.
        on_ray: Whether extraction uses Ray.

    Raises:
        CheckpointError: If the folder belongs to another run or another process works in it.
        ConfigError: If the recipe names a stream that the store does not have.
        InputError: If the folder to remove is not a run folder, or if the recipe cannot be trained
            on the clips.
        ResourceError: If a GPU is requested but none is available.
        SourceError: If the corpus as a whole is invalid.
        StoreError: If too many clips are dropped or if there is too little disk space.
        TrackingError: If a tracker that `tracking` names cannot be used.
        TrainingError: If the run diverged.
    """
    check_trackers(recipe.tracking)
    corpus_recipe = recipe.corpus_recipe
    store = extract_features(corpus_recipe, on_ray)
    name = f"{recipe.name}-{recipe.compute_config_hash(store.fingerprint)}-s{recipe.training.seed}"
    run_dir = (folder or get_state_dir() / "runs" / name).absolute()
    if overwrite:
        remove_run(run_dir)
    tracker = create_tracker(corpus_recipe, recipe.name, run_dir)
    open_log = partial(RunLogOpener(tracker, recipe), run_dir, name, "embed", {})
    spec = EmbedderSpec(recipe, store.folder, run_dir, overwrite)
    return train_or_raise(
        lambda: train_embedder(spec, open_log(), log_evaluation), recipe.training.learning_rate
    )
