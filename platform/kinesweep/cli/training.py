"""Commands that train: run, train, repeat.

Arguments are checked before PyTorch is imported, which takes seconds; hence the late imports.
"""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.console import (
    DryRunOption,
    JsonOption,
    OverridesArgument,
    console,
    print_json_result,
    print_line,
    wrap_command,
)
from kinesweep.cli.data import RecipeArgument
from kinesweep.core.errors import InputError
from kinesweep.core.scores import format_score, format_scores, order_scores


@wrap_command
def run(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    split: Annotated[str, typer.Option(help="Split to score at the end.")] = "validation",
    folder: Annotated[
        Path | None, typer.Option(help="Run folder. Default: named after recipe, data and seed.")
    ] = None,
    dry_run: DryRunOption = False,
    json_line: JsonOption = False,
) -> None:
    """Estimate poses (if the corpus consists of videos), extract, train and evaluate a recipe.

    Finished stages are skipped, so the same command resumes after an interruption.

    Example: kinesweep run jobs/recipes/sample.yaml training.max_steps=200
    """
    from kinesweep.pipelines.inputs import load_recipe
    from kinesweep.pipelines.training import train_recipe

    settings = load_recipe(recipe, overrides)
    if dry_run:
        from kinesweep.pipelines.dry_run import dry_run_evaluation, dry_run_training

        dry_run_result, estimate = dry_run_training(recipe, overrides or [], on_ray=True)
        dry_run_evaluation(dry_run_result.folder, split, [])
        print_line(estimate.format_summary())
        print_json_result(
            {"run": dry_run_result.to_json(), "expected_s": vars(estimate)}, json_line
        )
        return
    result = train_recipe(settings, folder, overwrite=False, on_ray=True)
    print_line(f"{result.status} after {result.step} steps: {result.folder}")
    from kinesweep.pipelines.evaluation import evaluate_model_dir

    evaluation, _ = evaluate_model_dir(result.folder, split, [], None)
    for metric in order_scores(evaluation.scores):
        score_text = format_score(metric, evaluation.scores[metric])
        print_line(f"{split} {score_text}  {evaluation.signatures.get(metric, '')}".rstrip())
    print_json_result(
        {"run": result.to_json(), "split": split, "scores": evaluation.scores}, json_line
    )


@wrap_command
def train(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    folder: Annotated[
        Path | None, typer.Option(help="Run folder. Default: named after recipe, data and seed.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Train in this process.")] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Override training.max_steps; 0 writes the untrained model."),
    ] = None,
    dry_run: DryRunOption = False,
    json_line: JsonOption = False,
) -> None:
    """Train one run of a recipe; after an interruption, the same command resumes it.

    Example: kinesweep train jobs/recipes/sample.yaml batch.batch_size=16 --folder /tmp/my-run
    """
    from kinesweep.pipelines.inputs import load_recipe
    from kinesweep.pipelines.training import train_recipe, write_untrained_model

    # `--steps 0` is not an override: `max_steps` must be positive, and the untrained model that it
    # asks for has the recipe's own identity.
    step_overrides = [f"training.max_steps={steps}"] if steps else []
    settings = load_recipe(recipe, [*(overrides or []), *step_overrides])
    if dry_run:
        _run_dry_training(recipe, overrides or [], not no_ray, json_line)
        return
    if steps == 0:
        model_dir = write_untrained_model(settings, folder, on_ray=not no_ray)
        print_line(f"model   {model_dir}, before the first training step")
        print_json_result({"folder": str(model_dir), "step": 0}, json_line)
        return
    result = train_recipe(settings, folder, overwrite=overwrite, on_ray=not no_ray)
    scores_text = format_scores(result.scores, [settings.training.metric_for_best_model])
    print_line(f"{result.status} after {result.step} steps: {scores_text}")
    for limit, count in result.limited.items():
        print_line(f"limits  {limit} {count}")
    print_line(f"run     {result.folder}")
    print_line(f"weights {result.weights_sha256}")
    print_json_result(result.to_json(), json_line)


def _run_dry_training(recipe: Path, overrides: list[str], on_ray: bool, json_line: bool) -> None:
    """Train on a few clips and print the estimated time of the full run."""
    from kinesweep.pipelines.dry_run import dry_run_training

    result, estimate = dry_run_training(recipe, overrides, on_ray=on_ray)
    print_line(estimate.format_summary())
    print_json_result({"run": result.to_json(), "expected_s": vars(estimate)}, json_line)


@wrap_command
def repeat(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    runs: Annotated[int, typer.Option(min=2, help="Number of runs.")] = 3,
    warm: Annotated[bool, typer.Option("--warm", help="Reuse the same workers.")] = False,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Train in this process.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Parent folder of the runs.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier runs.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Train a recipe several times with the same settings and compare the runs bit by bit.

    Exits with code 1 if they differ and reports the first differing step and differing settings.

    Example: kinesweep repeat jobs/recipes/sample.yaml --overwrite training.max_steps=200
    """
    from kinesweep.pipelines.inputs import load_recipe

    if warm and no_ray:
        raise InputError("`--warm` and `--no-ray` exclude each other; leave out one of them")
    settings = load_recipe(recipe, overrides)
    # Imported after the recipe is checked, because Ray and PyTorch take seconds to import.
    from kinesweep.cli.tables import build_repeats_table
    from kinesweep.pipelines.reproducibility import ExecutionMode, repeat_training

    mode: ExecutionMode = "in_process" if no_ray else "warm" if warm else "cold"
    repetition = repeat_training(settings, runs, mode, folder, overwrite)
    console.print(build_repeats_table(repetition.results, settings.training.metric_for_best_model))
    for line in repetition.format_lines():
        print_line(line)
    print_json_result(repetition.to_json(), json_line)
    if not repetition.is_identical:
        raise typer.Exit(1)
