"""Commands on trained models: evaluate, export, diff.

Arguments are checked before PyTorch is imported, which takes seconds; hence the late imports.
"""

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
from kinesweep.cli.model_argument import ModelArgument
from kinesweep.core.scores import format_score, format_scores, order_scores


@command
def evaluate(
    model: ModelArgument,
    split: Annotated[str, typer.Option(help="Split: train, validation or test.")] = "validation",
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output folder for `SPLIT_outputs.tsv` (texts, each with its chrF) and"
            " `SPLIT_results.json` (scores, signatures, decoding), or FILE.tsv for the texts alone."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Score another system's texts instead: a TSV with `id`, `hypothesis`."),
    ] = None,
    dry_run: DryRun = False,
    json_line: JsonOption = False,
) -> None:
    """Score a model, or another system's texts, on a split of the model's corpus.

    Example: kinesweep evaluate .kinesweep/exports/sample --split validation --out /tmp/scored
    """
    from kinesweep.checkpoints.model_dir_files import check_model_folder
    from kinesweep.pipelines.inputs import model_folder

    check_model_folder(model_folder(model))
    # Imported after the folder is checked: PyTorch takes seconds.
    from kinesweep.pipelines.evaluation import evaluate_model_dir, resolve_output_paths

    places = None if out is None else resolve_output_paths(out, split, overwrite)
    if dry_run:
        from kinesweep.pipelines.dry_run import dry_evaluate

        expected = dry_evaluate(model, split, overrides or [])
        print_line(expected.line())
        print_json_result({"expected_s": vars(expected)}, json_line)
        return
    evaluation, parts = evaluate_model_dir(model, split, overrides or [], places, predictions)
    for metric in order_scores(evaluation.scores):
        shown = format_score(metric, evaluation.scores[metric])
        print_line(f"{shown}  {evaluation.signatures.get(metric, '')}".rstrip())
    for part in parts:
        print_line(f"{part.clips} {part.what}: {format_scores(part.scores)}")
    found = {"scores": evaluation.scores, "signatures": evaluation.signatures}
    print_json_result({**found, "parts": [vars(part) for part in parts]}, json_line)


@command
def export(
    run: ModelArgument,
    out: Annotated[Path, typer.Argument(help="Output folder for the bundle.", show_default=False)],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing bundle.")
    ] = False,
    json_line: JsonOption = False,
) -> None:
    """Export a finished run as a bundle and verify that the bundle generates the same texts.

    Example: kinesweep export .kinesweep/runs/my .kinesweep/exports/my --overwrite
    """
    from kinesweep.export import export_bundle
    from kinesweep.pipelines.extraction import find_training_store

    store = find_training_store(run)
    bundle = export_bundle(run, out, store, overwrite=overwrite)
    # The check runs in a fresh process, as somebody else would load the bundle.
    from kinesweep.export import verify_bundle

    checked = verify_bundle(bundle, store.folder, run)
    print_line(f"bundle  {bundle} ({checked} texts are identical after loading)")
    print_json_result({"bundle": str(bundle), "verified": checked}, json_line)


@command
def diff(
    left: ModelArgument,
    right: ModelArgument,
    json_line: JsonOption = False,
) -> None:
    """Compare two models tensor by tensor. Exits with code 1 if they differ.

    Example: kinesweep diff .kinesweep/exports/sample .kinesweep/exports/sample
    """
    from kinesweep.checkpoints.weight_diff import compare_checkpoints
    from kinesweep.pipelines.inputs import model_folder

    rows = compare_checkpoints(model_folder(left), model_folder(right))
    other = [row for row in rows if not row.equal]
    for row in other:
        print_line(f"{row.name}: largest difference {row.largest}  {row.note}")
    print_line(f"{len(rows) - len(other)} of {len(rows)} tensors are equal")
    print_json_result({"tensors": len(rows), "different": [row.name for row in other]}, json_line)
    if other:
        raise typer.Exit(1)
