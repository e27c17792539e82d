"""The command `pretrain`: pretrain video models on the frames of clips."""

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
def pretrain(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    folder: Annotated[
        Path | None, typer.Option(help="Run folder. Default: named after recipe, data and seed.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing run.")
    ] = False,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Train in this process.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Pretrain a video model; after an interruption, the same command resumes it.

    Example: kinesweep pretrain jobs/recipes/ssvp_mae_tiny.yaml training.max_steps=500
    """
    from kinesweep.config.loading import load_config
    from kinesweep.config.pretraining_recipe import PretrainingRecipe

    settings = load_config(PretrainingRecipe, recipe, overrides or ()).resolve_paths(Path.cwd())
    # After the recipe: this loads PyTorch, which takes seconds.
    from kinesweep.pipelines.pretraining import pretrain_recipe

    result = pretrain_recipe(settings, folder, overwrite, on_ray=not no_ray)
    scores_text = format_scores(result.scores)
    print_line(
        f"{result.status} after {result.step} steps, best at {result.best_step}: {scores_text}"
    )
    # Printed even if all went well: nothing is left out in silence.
    for limit, count in result.limited.items():
        print_line(f"limits  {limit} {count}")
    print_line(f"run     {result.folder}")
    print_line(f"encoder {result.folder / 'best' / 'model.safetensors'}")
    print_json_result(result.to_json(), json_line)
