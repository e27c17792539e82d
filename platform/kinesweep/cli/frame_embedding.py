"""The command `train-embedder`: train frame embedders, which align clips to references."""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.console import (
    JsonOption,
    OverridesArgument,
    print_json_result,
    print_line,
    wrap_command,
)
from kinesweep.cli.data import RecipeArgument
from kinesweep.core.scores import format_scores


@wrap_command
def train_embedder(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
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
    from kinesweep.config.embedding_recipe import EmbeddingRecipe
    from kinesweep.config.loading import load_config

    settings = load_config(EmbeddingRecipe, recipe, overrides or ()).resolve_paths(Path.cwd())
    # After the recipe: this loads PyTorch, which takes seconds.
    from kinesweep.pipelines.frame_embedding import train_embedding_recipe

    result = train_embedding_recipe(settings, folder, overwrite, on_ray=not no_ray)
    scores_text = format_scores(result.scores, ["tau"])
    print_line(
        f"{result.status} after {result.step} steps, best at {result.best_step}: {scores_text}"
    )
    for limit, count in result.limited.items():
        print_line(f"limits  {limit} {count}")
    print_line(f"embedder {result.folder / 'best'}")
    print_json_result(result.to_json(), json_line)
