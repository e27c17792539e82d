"""The command `run`: the whole path of one recipe, from videos or poses to scores."""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.console import (
    DryRun,
    JsonOption,
    Overrides,
    command,
    print_json_result,
    print_line,
)
from kinesweep.cli.data import RecipeArgument
from kinesweep.core.scores import format_score, order_scores


@command
def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="Split to score at the end.")] = "validation",
    folder: Annotated[
        Path | None, typer.Option(help="Run folder. Default: named after recipe, data and seed.")
    ] = None,
    dry_run: DryRun = False,
    json_line: JsonOption = False,
) -> None:
    """Estimate poses (if the corpus consists of videos), extract, train and evaluate a recipe.

    Finished stages are skipped, so the same command resumes after an interruption.

    Example: kinesweep run jobs/recipes/sample.yaml training.max_steps=200
    """
    from kinesweep.pipelines.recipes import load_recipe
    from kinesweep.pipelines.training import train_recipe

    settings = load_recipe(recipe, overrides)
    if dry_run:
        from kinesweep.pipelines.dry_run import dry_evaluate, dry_train

        done, expected = dry_train(recipe, overrides or [], on_ray=True)
        dry_evaluate(done.folder, split, [])
        print_line(expected.line())
        print_json_result({"run": done.to_json(), "expected_s": vars(expected)}, json_line)
        return
    result = train_recipe(settings, folder, overwrite=False, on_ray=True)
    print_line(f"{result.status} after {result.step} steps: {result.folder}")
    from kinesweep.pipelines.evaluation import evaluate_model_dir

    evaluation, _ = evaluate_model_dir(result.folder, split, [], None)
    for metric in order_scores(evaluation.scores):
        shown = format_score(metric, evaluation.scores[metric])
        print_line(f"{split} {shown}  {evaluation.signatures.get(metric, '')}".rstrip())
    print_json_result(
        {"run": result.to_json(), "split": split, "scores": evaluation.scores}, json_line
    )
