"""Verbs on data: sample, prepare, check, split, extract, show, export-features."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kinesweep.cli.output import (
    DryRun,
    JsonOption,
    Overrides,
    console,
    emit,
    progress,
    say,
    verb,
)
from kinesweep.core.errors import InputError, SourceError

if TYPE_CHECKING:
    from kinesweep.core.recipe import Recipe
    from kinesweep.store import Store

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe, YAML.", show_default=False)]


@verb
def sample(
    folder: Annotated[Path, typer.Argument(help="Where the corpus goes.", show_default=False)],
    clips: Annotated[int | None, typer.Option(min=12, help="Clips over all splits.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another corpus.")] = 0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave an equal corpus as it is.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Write the embedded corpus: an invented sign language, made by code, in the real formats.

    Example: kinesweep sample /tmp/kinesweep-sample --clips 60 --seed 3 --keep
    """
    from kinesweep.sources.sample import DEFAULT_CLIPS, write_sample

    summary = write_sample(folder, clips or DEFAULT_CLIPS, seed, keep=keep)
    say(f"{folder}: train {summary.train}, validation {summary.validation}, test {summary.test}")
    perfect = summary.perfect_recogniser_bleu
    say(f"who recognised every sign would score {perfect:.1f} BLEU on validation")
    emit({"folder": str(folder), **summary.as_dict()}, json_line)


@verb
def prepare(
    corpus: Annotated[
        Literal["how2sign", "phoenix", "csl_daily", "openasl", "youtube_asl", "generic"],
        typer.Argument(help="Whose files they are."),
    ],
    annotations: Annotated[
        Path, typer.Argument(help="Folder of the published tables.", show_default=False)
    ],
    poses: Annotated[Path, typer.Argument(help="Folder of the `.pose` files.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder for the TSVs.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace TSVs.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Turn a corpus's published annotations into TSVs; poses stay where they are.

    Clips without a pose file are counted and listed in missing.tsv; where their video is there, the
    command that estimates poses is shown.

    Example: kinesweep prepare generic .kinesweep/sample .kinesweep/sample /tmp/tsv --overwrite
    """
    from kinesweep.sources import prepare as prepared

    found = prepared.prepare(corpus, annotations, poses, out, overwrite)
    for name, file in found.files.items():
        lost = found.missing.get(name, 0)
        say(f"{file}  {found.clips[name]} clips, {lost} without a pose file")
    for name in sorted(found.missing.keys() - found.files.keys()):
        say(f"{name}: all {found.missing[name]} clips are without a pose file; no table")
    if found.unestimated:
        say(
            f"{found.unestimated} of them are there as videos or frames; estimate their poses with"
            f" `kinesweep estimate {poses} --out {poses}`, and prepare again"
        )
    say(f"their media paths start at source.root={poses.absolute()}")
    files = {name: str(file) for name, file in found.files.items()}
    emit({**vars(found), "files": files, "root": str(poses.absolute())}, json_line)


@verb
def check(
    recipe: RecipeArgument, overrides: Overrides = None, json_line: JsonOption = False
) -> None:
    """Look for wrong rows, unreadable files, and what the splits of a corpus share.

    Every file is opened. Exits with 2 when a row is wrong; shared sentences, documents and signers
    are reported, not refused.

    Example: kinesweep check jobs/recipes/sample.yaml
    """
    from kinesweep.cli import workflows
    from kinesweep.sources import build_source
    from kinesweep.sources.checks import overlaps

    source = build_source(workflows.load_recipe(recipe, overrides).corpus)
    problems = source.check()
    shared = overlaps(source)
    for problem in problems:
        say(f"{problem.row}  {problem.reason}  {problem.message}")
    for line in shared.lines():
        say(line)
    emit({"problems": [vars(p) for p in problems], "overlaps": shared.as_dict()}, json_line)
    if problems:
        raise SourceError(
            f"{len(problems)} rows cannot be used; `extract` would drop and count them"
        )


@verb
def split(
    recipe: RecipeArgument,
    out: Annotated[Path, typer.Argument(help="Folder for the new TSVs.", show_default=False)],
    overrides: Overrides = None,
    by: Annotated[
        Literal["signer", "document"], typer.Option(help="What no two splits may share.")
    ] = "signer",
    folds: Annotated[int, typer.Option(min=2, help="Folds of cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Order in which groups are dealt out.")] = 0,
    json_line: JsonOption = False,
) -> None:
    """Cut train and validation into folds that share no signer, or no document; test stays.

    Example: kinesweep split jobs/recipes/sample.yaml /tmp/kinesweep-folds --by signer --folds 3
    """
    from kinesweep.cli import workflows
    from kinesweep.sources.split import folds_root, split_rows

    source = workflows.load_recipe(recipe, overrides).corpus
    files = split_rows(source, by=by, folds=folds, seed=seed, out=out)
    for file in files:
        say(str(file))
    key = "motions" if source.kind == "skeletons" else "root"
    say(f"their media paths start at source.{key}={folds_root(source)}")
    emit({"files": [str(file) for file in files], "root": str(folds_root(source))}, json_line)


@verb
def extract(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    json_line: JsonOption = False,
) -> None:
    """Compute the features of a corpus once, on Ray Data; clips that did not change are reused.

    Example: kinesweep extract jobs/recipes/sample.yaml
    """
    from kinesweep.cli import workflows

    settings = workflows.load_recipe(recipe, overrides)
    if dry_run:
        from kinesweep.cli.dry import dry_extract

        expected = dry_extract(recipe, overrides or [])
        say(expected.line())
        emit({"expected_s": vars(expected)}, json_line)
        return
    store = workflows.extract_features(settings)
    emit(workflows.store_facts(store), json_line)


@verb
def show(
    folder: Annotated[
        Path, typer.Argument(help="A feature store, or a recipe whose store is meant.")
    ],
    clip: Annotated[str | None, typer.Option(help="Show this clip alone, by id.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Draw the clip's points: FILE.gif or FILE.mp4 moves, FILE.png does not."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Write beneath the picture what a model says: a TSV of predictions."),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Print what a feature store holds, or one clip of it; draw a clip's skeleton.

    Example: kinesweep show jobs/recipes/sample.yaml
    """
    from kinesweep.cli import workflows
    from kinesweep.store.show import describe

    if out is None and predictions is not None:
        raise InputError("`--predictions` stand beneath a picture; give its file by `--out`")
    if out is not None and clip is None:
        raise InputError("`--out` draws one clip; name it by `--clip`")
    store, _ = store_at(folder)
    console.print(describe(store, clip))
    facts = workflows.store_facts(store)
    if out is not None and clip is not None:
        from kinesweep.cli.drawing import draw_clip  # matplotlib and plotly: a second

        facts |= draw_clip(store, clip, out, predictions)
    emit(facts, json_line)


@verb
def export_features(
    place: Annotated[
        Path, typer.Argument(help="A feature store, or a recipe whose store is meant.")
    ],
    out: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    overrides: Overrides = None,
    stream: Annotated[
        str | None, typer.Option(help="Which features, where the store has several.")
    ] = None,
    epoch: Annotated[int, typer.Option(min=0, help="Number of the first epoch's folder.")] = 0,
    augment: Annotated[
        int | None,
        typer.Option(min=1, help="So many epochs of train, varied by the recipe's augmentation."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace such a folder.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Write features in SSVP-SLT's layout: a manifest a split, a tensor file a clip.

    A source of the kind `feature_manifest` reads them back.

    Example: kinesweep export-features jobs/recipes/sample.yaml /tmp/kinesweep-features --overwrite
    """
    from kinesweep.store.hand_over import hand_over, variation_of

    store, recipe = store_at(place, overrides)
    if augment is not None and recipe is None:
        raise InputError("`--augment` needs a recipe, which says how; a store alone does not")
    variation = variation_of(recipe, store, augment) if recipe and augment else None
    with progress("export") as update:
        done = hand_over(store, out, stream, epoch, variation, overwrite, update)
    counts = ", ".join(f"{split} {clips}" for split, clips in done.clips.items())
    say(f"{out}: `{done.stream}`, {done.width} wide; {counts}")
    if done.rate_hz is not None:
        say(f"{done.rate_hz:g} features a second; to read them back: source.fps={done.rate_hz:g}")
    for number, files in sorted(done.epochs.items()):
        say(f"epoch {number}: {files} of {done.clips['train']} clips of train")
    if done.references_left:
        say(f"left out: {done.references_left} references beyond the first of their clip")
    emit({"folder": str(out), **vars(done)}, json_line)


def store_at(place: Path, overrides: list[str] | None = None) -> "tuple[Store, Recipe | None]":
    """The store of a folder, or of a recipe, and the recipe.

    Raises:
        InputError: it is neither, or a store is to be overridden.
        StoreError: there is no store, or it is damaged.
    """
    from kinesweep.cli import workflows
    from kinesweep.store import open_store

    if place.suffix in {".yaml", ".yml"}:
        recipe = workflows.load_recipe(place, overrides)
        return workflows.existing_store(recipe), recipe
    if not place.is_dir():
        raise InputError(f"`{place}` is neither a feature store nor a recipe")
    if overrides:
        raise InputError(f"`{place}` is a store; only a recipe can be overridden")
    return open_store(place), None
