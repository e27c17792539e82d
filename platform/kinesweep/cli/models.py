"""Commands on trained models: evaluate, export, diff.

Arguments are checked before PyTorch is imported, which takes seconds; hence the late imports.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinesweep.cli.console import (
    DryRunOption,
    JsonOption,
    OverridesArgument,
    print_json_result,
    print_line,
    wrap_command,
)
from kinesweep.cli.inference.device_option import DeviceOption
from kinesweep.cli.inference.hub_options import (
    BranchOption,
    MessageOption,
    PrivateOption,
    PushOption,
    build_push_request,
)
from kinesweep.cli.inference.task_scores import evaluate_tasks, print_task_scores
from kinesweep.cli.model_argument import AnyModelArgument, ModelArgument
from kinesweep.core.errors import InputError
from kinesweep.core.scores import format_score, format_scores, order_scores
from kinesweep.core.system.devices import AUTO_DEVICE

if TYPE_CHECKING:
    from kinesweep.evaluation.evaluate import Evaluation
    from kinesweep.evaluation.train_overlap import TrainOverlapScores


@wrap_command
def evaluate(  # noqa: PLR0913 (one argument for each option)
    model: ModelArgument,
    split: Annotated[str, typer.Option(help="Split: train, validation or test.")] = "validation",
    overrides: OverridesArgument = None,
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
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="Score the answers to a side task instead of translations: word_present,"
            " which_words or reversed; can be repeated.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = AUTO_DEVICE,
    dry_run: DryRunOption = False,
    json_line: JsonOption = False,
) -> None:
    """Score a model, or another system's texts, on a split of the model's corpus.

    Texts that were decoded before are scored again, for example by a judge, with
    `--predictions RUN/predictions/validation.tsv`.

    Example: kinesweep evaluate .kinesweep/exports/sample --split validation --out /tmp/scored
    """
    if tasks:
        if predictions is not None or dry_run:
            raise InputError("`--task` cannot be combined with `--predictions` or `--dry-run`")
        choices = {"overwrite": overwrite, "json_line": json_line}
        evaluate_tasks(model, split, tasks, overrides or [], out, **choices, device=device)
        return
    from kinesweep.checkpoints.model_dir_files import check_model_folder
    from kinesweep.pipelines.inputs import resolve_model_dir

    check_model_folder(resolve_model_dir(model))
    # Imported after the folder is checked: PyTorch takes seconds.
    from kinesweep.pipelines.evaluation import evaluate_model_dir, resolve_output_paths

    output_paths = None if out is None else resolve_output_paths(out, split, overwrite)
    if dry_run:
        from kinesweep.pipelines.dry_run import dry_run_evaluation

        estimate = dry_run_evaluation(model, split, overrides or [], device)
        print_line(estimate.format_summary())
        print_json_result({"expected_s": vars(estimate)}, json_line)
        return
    evaluation, parts = evaluate_model_dir(
        model, split, overrides or [], output_paths, predictions, device=device
    )
    _print_evaluation(evaluation, parts, json_line)


def _print_evaluation(
    evaluation: "Evaluation", parts: "Sequence[TrainOverlapScores]", json_line: bool
) -> None:
    """Print the scores with their signatures, the counts of judges, scores of parts, and tasks.

    Args:
        evaluation: Scores of the split.
        parts: Scores by whether a sentence occurs in train.
        json_line: Whether to print the scores as a line of JSON too.
    """
    from kinesweep.evaluation.judges.summary import format_judge_counts

    for metric in order_scores(evaluation.scores):
        score_text = format_score(metric, evaluation.scores[metric])
        print_line(f"{score_text}  {evaluation.signatures.get(metric, '')}".rstrip())
    for name, counts in evaluation.counts.items():
        print_line(format_judge_counts(name, counts))
    for part in parts:
        print_line(f"{part.clips} {part.what}: {format_scores(part.scores)}")
    tasks = {task: each.scores for task, each in evaluation.tasks.items()}
    print_task_scores(tasks)
    result: dict[str, Any] = {"scores": evaluation.scores, "signatures": evaluation.signatures}
    if evaluation.counts:
        result["counts"] = evaluation.counts
    result |= {"parts": [vars(part) for part in parts]}
    if tasks:
        result["tasks"] = {task: scores.to_json() for task, scores in tasks.items()}
    print_json_result(result, json_line)


@wrap_command
def export(  # noqa: PLR0913 (one argument for each option)
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_SWEEP",
            help="Run folder; with `--push` also a bundle, or the name of a sweep.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            help="Output folder for the bundle. Default with `--push`: one in the state folder.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing bundle.")
    ] = False,
    card: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Statement on the model card in place of the recipe's `export.card`, such as"
            " license=cc-by-4.0 or language=[ase,en]; can be repeated.",
            show_default=False,
        ),
    ] = None,
    push: PushOption = None,
    private: PrivateOption = False,
    revision: BranchOption = None,
    message: MessageOption = None,
    json_line: JsonOption = False,
) -> None:
    """Export a finished run as a bundle and verify that the bundle generates the same texts.

    With `--push` the bundle is then uploaded to the Hugging Face Hub as one commit and compared
    with what arrived there.

    Example: kinesweep export .kinesweep/runs/my .kinesweep/exports/my --push lab/my --private
    """
    from kinesweep.pipelines.bundle_export import export_and_push

    request = build_push_request(push, private, revision, message)
    bundle, num_verified, pushed = export_and_push(run, out, overwrite, card or (), request)
    result: dict[str, Any] = {"bundle": str(bundle), "verified": num_verified}
    if num_verified is not None:
        print_line(f"bundle  {bundle} ({num_verified} texts are identical after loading)")
    if pushed is not None:
        print_line(f"pushed  {pushed.url} ({pushed.num_files} files verified)")
        result["pushed"] = vars(pushed)
    print_json_result(result, json_line)


@wrap_command
def diff(
    left: AnyModelArgument,
    right: AnyModelArgument,
    json_line: JsonOption = False,
) -> None:
    """Compare two models tensor by tensor. Exits with code 1 if they differ.

    Example: kinesweep diff .kinesweep/exports/sample .kinesweep/exports/sample
    """
    from kinesweep.checkpoints.weight_diff import compare_weights
    from kinesweep.export.hub.download import find_bundle_dir
    from kinesweep.pipelines.inputs import resolve_model_dir

    folders = [find_bundle_dir(model) for model in (left, right)]
    rows = compare_weights(resolve_model_dir(folders[0]), resolve_model_dir(folders[1]))
    different_rows = [row for row in rows if not row.is_equal]
    for row in different_rows:
        print_line(f"{row.name}: largest difference {row.largest_difference}  {row.note}")
    print_line(f"{len(rows) - len(different_rows)} of {len(rows)} tensors are equal")
    print_json_result(
        {"tensors": len(rows), "different": [row.name for row in different_rows]}, json_line
    )
    if different_rows:
        raise typer.Exit(1)
