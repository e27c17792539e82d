"""Verbs on single runs and models: train, evaluate, translate, attention, export, diff."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.data import RecipeArgument
from kinesweep.cli.output import DryRun, JsonOption, Overrides, console, emit, progress, say, verb
from kinesweep.core.errors import InputError
from kinesweep.core.scores import format_score, format_scores, order_scores

ModelArgument = Annotated[
    Path, typer.Argument(help="A run folder, its `best`, or a bundle.", show_default=False)
]


@verb
def train(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    folder: Annotated[Path | None, typer.Option(help="Run folder; default: by identity.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another run.")] = False,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Train in this process.")] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Instead of training.max_steps; 0 writes the untrained model."),
    ] = None,
    dry_run: DryRun = False,
    json_line: JsonOption = False,
) -> None:
    """Train one run of a recipe; the same call goes on after any kill.

    Example: kinesweep train jobs/recipes/sample.yaml batch.clips=16 --folder .kinesweep/runs/my
    """
    from kinesweep.cli import workflows

    length = [f"training.max_steps={steps}"] if steps else []
    settings = workflows.load_recipe(recipe, [*(overrides or []), *length])
    if dry_run:
        from kinesweep.cli.dry import dry_train

        short, expected = dry_train(recipe, overrides or [], on_ray=not no_ray)
        say(expected.line())
        emit({"run": short.to_json(), "expected_s": vars(expected)}, json_line)
        return
    if steps == 0:
        first = workflows.train_nothing(settings, folder, on_ray=not no_ray)
        say(f"model   {first}, before its first step")
        emit({"folder": str(first), "step": 0}, json_line)
        return
    result = workflows.train_recipe(settings, folder, overwrite=overwrite, on_ray=not no_ray)
    shown = format_scores(result.scores, [settings.training.metric_for_best_model])
    say(f"{result.status} after {result.step} steps: {shown}")
    for what, count in result.limited.items():
        say(f"limits  {what} {count}")
    say(f"run     {result.folder}")
    say(f"weights {result.weights_sha256}")
    emit(result.to_json(), json_line)


@verb
def repeat(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    runs: Annotated[int, typer.Option(min=2, help="How many.")] = 3,
    warm: Annotated[bool, typer.Option("--warm", help="All in the same workers.")] = False,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="All in this process.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Of all runs; default: by identity.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier runs.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Train a recipe several times alike, and compare the runs bit by bit.

    Exits with 1 where they differ, and says at which step they part and which settings differ.

    Example: kinesweep repeat jobs/recipes/sample.yaml --overwrite training.max_steps=200
    """
    from kinesweep.cli import workflows

    if warm and no_ray:
        raise InputError("give `--warm` or `--no-ray`; this process is one worker anyway")
    settings = workflows.load_recipe(recipe, overrides)
    # After the recipe: these load Ray and PyTorch, which takes seconds.
    from kinesweep.cli.repeating import Place, repeat_recipe
    from kinesweep.cli.results import repeats_table
    from kinesweep.training.repeats import compare_runs

    place: Place = "here" if no_ray else "warm" if warm else "cold"
    results = repeat_recipe(settings, runs, place, folder, overwrite)
    partings = compare_runs(results)
    console.print(repeats_table(results, settings.training.metric_for_best_model))
    for line in (line for parting in partings for line in parting.lines()):
        say(line)
    if not partings:
        say(f"{runs} runs, the same to the bit")
    plain = [asdict(parting) for parting in partings]
    emit({"runs": [result.to_json() for result in results], "partings": plain}, json_line)
    if partings:
        raise typer.Exit(1)


@verb
def evaluate(
    model: ModelArgument,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for `SPLIT_outputs.tsv` (texts, each with its chrF) and"
            " `SPLIT_results.json` (scores, signatures, decoding); FILE.tsv: the texts alone."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
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
    from kinesweep.cli import workflows
    from kinesweep.training.model_files import check_model_folder

    check_model_folder(workflows.model_folder(model))
    from kinesweep.cli.evaluating import evaluate_folder, outputs_at  # PyTorch: seconds

    places = None if out is None else outputs_at(out, split, overwrite)
    if dry_run:
        from kinesweep.cli.dry import dry_evaluate

        expected = dry_evaluate(model, split, overrides or [])
        say(expected.line())
        emit({"expected_s": vars(expected)}, json_line)
        return
    evaluation, parts = evaluate_folder(model, split, overrides or [], places, predictions)
    for metric in order_scores(evaluation.scores):
        shown = format_score(metric, evaluation.scores[metric])
        say(f"{shown}  {evaluation.signatures.get(metric, '')}".rstrip())
    for part in parts:
        say(f"{part.clips} {part.what}: {format_scores(part.scores)}")
    found = {"scores": evaluation.scores, "signatures": evaluation.signatures}
    emit({**found, "parts": [vars(part) for part in parts]}, json_line)


@verb
def translate(
    bundle: Annotated[Path, typer.Argument(help="An exported bundle.", show_default=False)],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="What the model was trained on: poses, videos, features; or folders, or a TSV.",
            show_default=False,
        ),
    ],
    document: Annotated[
        bool,
        typer.Option(
            "--document",
            help="They are clips of one document, in this order: a model that was trained with"
            " `context` reads what it wrote of those before.",
        ),
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="The motion that all of them are compared with, by a model that was trained so;"
            " default: each with itself."
        ),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Turn raw files into text, a line each: what it is, a tab, the text.

    Each file stands alone unless `--document` is given, or a TSV has a column `document`.

    Example: kinesweep translate .kinesweep/exports/sample .kinesweep/sample/poses/test
    """
    from kinesweep.export import find_inputs
    from kinesweep.export.bundle import read_bundle_recipe

    named = find_inputs(inputs, read_bundle_recipe(bundle), document)
    from kinesweep.export import Bundle  # PyTorch: seconds

    loaded = Bundle.load(bundle, checked=True)
    if document and not loaded.reads_context:
        raise InputError("this model reads no context (see its recipe); leave out `--document`")
    if reference is not None and not loaded.compares:
        raise InputError("this model compares motions with none; leave out `--reference`")
    if reference is not None and any(clip.media is not None for _, clip in named):
        raise InputError("a table names references by its column `reference`, not `--reference`")
    if reference is not None:
        named = [(name, replace(clip, reference=reference)) for name, clip in named]
    own = sum(clip.is_own_reference for _, clip in named)
    if loaded.compares and own:
        which = "each" if own == len(named) else str(own)
        say(f"{which} of {len(named)} clips is compared with itself: no reference is given, by")
        say("`--reference` or a TSV's column `reference`")
    if loaded.reads_context and not any(clip.document for _, clip in named):
        say("each file is translated without context, which the model was trained with;")
        say("files of one document, in their order, get it by `--document`")
    with progress("translate") as update:
        lines = loaded.translate([clip for _, clip in named], update)
    for (name, _), line in zip(named, lines, strict=True):
        typer.echo(f"{name}\t{line}")
    emit({name: line for (name, _), line in zip(named, lines, strict=True)}, json_line)


@verb
def attention(
    model: ModelArgument,
    clip: Annotated[str, typer.Argument(help="A file as `translate` takes; with `--store` an id.")],
    out: Annotated[Path, typer.Option(help="FILE.html.", show_default=False)],
    store: Annotated[
        Path | None, typer.Option(help="Where the clip is: a feature store, or a recipe.")
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Write a page that shows what a model looks at in a clip, word by word and frame by frame.

    Example: kinesweep attention .kinesweep/exports/sample CLIP.pose --out /tmp/attention.html
    """
    from kinesweep.cli import workflows
    from kinesweep.training.model_files import check_model_folder

    if out.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"`{out}` ends in `{out.suffix}`; the page is an `.html`")
    if store is None and not Path(clip).exists():
        raise InputError(f"`{clip}` does not exist; if it is the id of a clip, name its `--store`")
    check_model_folder(workflows.model_folder(model))
    from kinesweep.cli.attending import write_page  # PyTorch: seconds

    emit(write_page(model, clip, out, store), json_line)


@verb
def export(
    run: ModelArgument,
    out: Annotated[Path, typer.Argument(help="Folder of the bundle.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Make a bundle of a finished run, and verify that it gives the same texts.

    Example: kinesweep export .kinesweep/runs/my .kinesweep/exports/my --overwrite
    """
    from kinesweep.cli import workflows
    from kinesweep.export import export_bundle

    store = workflows.store_of(run)
    bundle = export_bundle(run, out, store, overwrite=overwrite)
    from kinesweep.export import verify_bundle  # PyTorch: seconds

    checked = verify_bundle(bundle, store.folder, run)
    say(f"bundle  {bundle} ({checked} texts are the same after loading)")
    emit({"bundle": str(bundle), "verified": checked}, json_line)


@verb
def diff(
    left: ModelArgument,
    right: ModelArgument,
    json_line: JsonOption = False,
) -> None:
    """Compare two models tensor by tensor. Exits with 1 when they differ.

    Example: kinesweep diff .kinesweep/exports/sample .kinesweep/exports/sample
    """
    from kinesweep.cli import workflows
    from kinesweep.training.diff import compare_checkpoints

    rows = compare_checkpoints(workflows.model_folder(left), workflows.model_folder(right))
    other = [row for row in rows if not row.equal]
    for row in other:
        say(f"{row.name}: largest difference {row.largest}  {row.note}")
    say(f"{len(rows) - len(other)} of {len(rows)} tensors are equal")
    emit({"tensors": len(rows), "different": [row.name for row in other]}, json_line)
    if other:
        raise typer.Exit(1)
