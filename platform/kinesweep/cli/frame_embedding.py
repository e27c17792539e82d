"""The command `train-embedder`: train frame embedders, which align clips to references."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.console import JsonOption, Overrides, command, print_json_result, print_line
from kinesweep.cli.data import RecipeArgument
from kinesweep.core.scores import format_scores


@command
def train_embedder(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    folder: Annotated[
        Path | None, typer.Option(help="Run folder. Default: named after recipe, data and seed.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing run.")
    ] = False,
    no_ray: Annotated[
        bool, typer.Option("--no-ray", help="Extract features in this process, without Ray.")
    ] = False,
    json_line: JsonOption = False,
) -> None:
    """Train a frame embedder (TCC or CARL); after an interruption, the same command resumes it.

    Example: kinesweep train-embedder jobs/recipes/motion2text_align.yaml training.max_steps=500
    """
    from kinesweep.config.loading import load
    from kinesweep.config.recipe.embedding import EmbeddingRecipe
    from kinesweep.core.paths import state_home
    from kinesweep.pipelines.extraction import extract_features
    from kinesweep.pipelines.tracking import LogOpener, create_tracker
    from kinesweep.pipelines.training import log_evaluation, remove_run

    settings = load(EmbeddingRecipe, recipe, overrides or ()).resolved(Path.cwd())
    # After the recipe: these load PyTorch, which takes seconds.
    from kinesweep.store.extraction.build import extract_locally
    from kinesweep.training.frame_embedding.training import EmbedderSpec
    from kinesweep.training.frame_embedding.training import train_embedder as train

    corpus = settings.corpus_recipe
    store = extract_locally(corpus) if no_ray else extract_features(corpus)
    name = f"{settings.name}-{settings.config_hash(store.fingerprint)}-s{settings.training.seed}"
    place = (folder or state_home() / "runs" / name).absolute()
    if overwrite:
        remove_run(place)
    logs = create_tracker(corpus, settings.name, place)
    open_log = partial(LogOpener(logs, settings), place, name, "embed", {})
    spec = EmbedderSpec(settings, store.folder, place, overwrite)
    result = train(spec, open_log(), log_evaluation)
    shown = format_scores(result.scores, ["tau"])
    print_line(f"{result.status} after {result.step} steps, best at {result.best_step}: {shown}")
    for what, count in result.limited.items():
        print_line(f"limits  {what} {count}")
    print_line(f"embedder {result.folder / 'best'}")
    print_json_result(result.to_json(), json_line)
