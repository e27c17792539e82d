"""Frame embedder training for commands: from an embedding recipe to a folder for `features`."""

from functools import partial
from pathlib import Path

from kinesweep.config.recipe.embedding import EmbeddingRecipe
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.extraction import extract_features
from kinesweep.pipelines.tracking import RunLogOpener, create_tracker
from kinesweep.pipelines.training import log_evaluation, remove_run
from kinesweep.training.frame_embedding.training import EmbedderSpec, train_embedder
from kinesweep.training.run_records.result import RunResult


def train_embedding_recipe(
    recipe: EmbeddingRecipe, folder: Path | None, overwrite: bool, on_ray: bool
) -> RunResult:
    """Train a frame embedder; an interrupted run continues, a finished one returns its result.

    Training runs in this process; only the extraction of the corpus uses Ray.

    Args:
        recipe: Recipe of the embedder.
        folder: Run folder; None: a folder named after recipe, data and seed.
        overwrite: Whether an existing run is removed first.
        on_ray: Whether extraction uses Ray.
    """
    corpus = recipe.corpus_recipe
    store = extract_features(corpus, on_ray)
    name = f"{recipe.name}-{recipe.compute_config_hash(store.fingerprint)}-s{recipe.training.seed}"
    run_dir = (folder or get_state_dir() / "runs" / name).absolute()
    if overwrite:
        remove_run(run_dir)
    tracker = create_tracker(corpus, recipe.name, run_dir)
    open_log = partial(RunLogOpener(tracker, recipe), run_dir, name, "embed", {})
    spec = EmbedderSpec(recipe, store.folder, run_dir, overwrite)
    return train_embedder(spec, open_log(), log_evaluation)
