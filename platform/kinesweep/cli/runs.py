"""Commands on runs and models: train, repeat, evaluate, translate, attention, export, diff.

Arguments are checked before PyTorch is imported, which takes seconds; hence the late imports.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.console import (
    DryRun,
    JsonOption,
    Overrides,
    command,
    console,
    print_json_result,
    print_line,
)
from kinesweep.cli.data import RecipeArgument
from kinesweep.core.errors import InputError
from kinesweep.core.scores import format_score, format_scores, order_scores
from kinesweep.pipelines.progress import progress_bar

ModelArgument = Annotated[
    Path, typer.Argument(help="Run folder, its `best`, or a bundle.", show_default=False)
]


@command
def train(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    folder: Annotated[
        Path | None, typer.Option(help="Run folder. Default: named after recipe, data and seed.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Train in this process.")] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Override training.max_steps; 0 writes the untrained model."),
    ] = None,
    dry_run: DryRun = False,
    json_line: JsonOption = False,
) -> None:
    """Train one run of a recipe; after an interruption, the same command resumes it.

    Example: kinesweep train jobs/recipes/sample.yaml batch.clips=16 --folder .kinesweep/runs/my
    """
    from kinesweep.pipelines.recipes import load_recipe
    from kinesweep.pipelines.training import train_recipe, write_untrained_model

    # `--steps 0` is not an override: `max_steps` must be positive, and the untrained model that it
    # asks for has the recipe's own identity.
    length = [f"training.max_steps={steps}"] if steps else []
    settings = load_recipe(recipe, [*(overrides or []), *length])
    if dry_run:
        from kinesweep.pipelines.dry_run import dry_train

        short, expected = dry_train(recipe, overrides or [], on_ray=not no_ray)
        print_line(expected.line())
        print_json_result({"run": short.to_json(), "expected_s": vars(expected)}, json_line)
        return
    if steps == 0:
        first = write_untrained_model(settings, folder, on_ray=not no_ray)
        print_line(f"model   {first}, before the first training step")
        print_json_result({"folder": str(first), "step": 0}, json_line)
        return
    result = train_recipe(settings, folder, overwrite=overwrite, on_ray=not no_ray)
    shown = format_scores(result.scores, [settings.training.metric_for_best_model])
    print_line(f"{result.status} after {result.step} steps: {shown}")
    for what, count in result.limited.items():
        print_line(f"limits  {what} {count}")
    print_line(f"run     {result.folder}")
    print_line(f"weights {result.weights_sha256}")
    print_json_result(result.to_json(), json_line)


@command
def repeat(
    recipe: RecipeArgument,
    overrides: Overrides = None,
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
    from kinesweep.pipelines.recipes import load_recipe

    if warm and no_ray:
        raise InputError("`--warm` and `--no-ray` exclude each other; leave out one of them")
    settings = load_recipe(recipe, overrides)
    # Imported after the recipe is checked, because Ray and PyTorch take seconds to import.
    from kinesweep.cli.tables import repeats_table
    from kinesweep.pipelines.reproducibility import ExecutionMode, repeat_recipe
    from kinesweep.training.reproducibility.repetition import compare_runs

    place: ExecutionMode = "here" if no_ray else "warm" if warm else "cold"
    results = repeat_recipe(settings, runs, place, folder, overwrite)
    partings = compare_runs(results)
    console.print(repeats_table(results, settings.training.metric_for_best_model))
    for line in (line for parting in partings for line in parting.lines()):
        print_line(line)
    if not partings:
        print_line(f"all {runs} runs are bit-identical")
    plain = [asdict(parting) for parting in partings]
    print_json_result(
        {"runs": [result.to_json() for result in results], "partings": plain}, json_line
    )
    if partings:
        raise typer.Exit(1)


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
    from kinesweep.pipelines.folders import model_folder

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
def translate(
    bundle: Annotated[Path, typer.Argument(help="Exported bundle.", show_default=False)],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Poses, videos or features (as in training), folders of them, or a TSV.",
            show_default=False,
        ),
    ],
    document: Annotated[
        bool,
        typer.Option(
            "--document",
            help="Treat the inputs as consecutive clips of one document: a model trained with"
            " `context` reads its own translations of the previous clips.",
        ),
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Reference motion for all inputs, for a model that compares motions. Default: each"
            " input is its own reference."
        ),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Translate raw files to text and print one line per clip: its name, a tab, the text.

    Files have no context unless `--document` is given or a TSV has a column `document`.

    Example: kinesweep translate .kinesweep/exports/sample .kinesweep/sample/poses/test
    """
    from kinesweep.export import find_inputs
    from kinesweep.export.bundle import read_bundle_recipe

    named = find_inputs(inputs, read_bundle_recipe(bundle), document)
    from kinesweep.export import Bundle  # imports PyTorch, which takes seconds

    loaded = Bundle.load(bundle, checked=True)
    if document and not loaded.reads_context:
        raise InputError("this model does not use context (see its recipe); omit `--document`")
    if reference is not None and not loaded.compares:
        raise InputError("this model does not use a reference motion; omit `--reference`")
    if reference is not None and any(clip.media is not None for _, clip in named):
        raise InputError("a TSV has its own column `reference`; omit `--reference`")
    if reference is not None:
        named = [(name, replace(clip, reference=reference)) for name, clip in named]
    own = sum(clip.is_own_reference for _, clip in named)
    if loaded.compares and own:
        which = "each" if own == len(named) else str(own)
        print_line(
            f"{which} of {len(named)} clips is compared with itself, because no reference is given"
        )
        print_line("(by `--reference` or a TSV's column `reference`)")
    if loaded.reads_context and not any(clip.document for _, clip in named):
        print_line("each file is translated without the context that the model was trained with;")
        print_line("pass `--document` if the files are consecutive clips of one document")
    with progress_bar("translate") as update:
        lines = loaded.translate([clip for _, clip in named], update)
    # On stdout, unlike all other text: the translations are the result.
    for (name, _), line in zip(named, lines, strict=True):
        typer.echo(f"{name}\t{line}")
    print_json_result({name: line for (name, _), line in zip(named, lines, strict=True)}, json_line)


@command
def attention(
    model: ModelArgument,
    clip: Annotated[str, typer.Argument(help="File for `translate`; with `--store` a clip id.")],
    out: Annotated[Path, typer.Option(help="Output file (.html).", show_default=False)],
    store: Annotated[
        Path | None, typer.Option(help="Feature store that contains the clip, or its recipe.")
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Write a page that shows a model's attention in a clip, for each word over the frames.

    Example: kinesweep attention .kinesweep/exports/sample CLIP.pose --out /tmp/attention.html
    """
    from kinesweep.checkpoints.model_dir_files import check_model_folder
    from kinesweep.pipelines.folders import model_folder

    if out.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"`--out` must end in `.html`, but `{out}` ends in `{out.suffix}`")
    if store is None and not Path(clip).exists():
        raise InputError(f"`{clip}` does not exist; if it is the id of a clip, pass its `--store`")
    check_model_folder(model_folder(model))
    from kinesweep.pipelines.attention_page import (
        write_attention_page,  # imports PyTorch, which takes seconds
    )

    print_json_result(write_attention_page(model, clip, out, store), json_line)


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
    from kinesweep.pipelines.folders import model_folder

    rows = compare_checkpoints(model_folder(left), model_folder(right))
    other = [row for row in rows if not row.equal]
    for row in other:
        print_line(f"{row.name}: largest difference {row.largest}  {row.note}")
    print_line(f"{len(rows) - len(other)} of {len(rows)} tensors are equal")
    print_json_result({"tensors": len(rows), "different": [row.name for row in other]}, json_line)
    if other:
        raise typer.Exit(1)
