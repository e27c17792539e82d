"""Commands on data: sample, prepare, check, split, extract, show, export-features.

Every command imports what it needs in its body: PyTorch, Ray and the plotting libraries each take
seconds to import, and bad input should be rejected before that.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from kinesweep.core.errors import InputError, SourceError
from kinesweep.pipelines.progress import progress_bar

if TYPE_CHECKING:
    pass

RecipeArgument = Annotated[Path, typer.Argument(help="Recipe file (YAML).", show_default=False)]


@command
def sample(
    folder: Annotated[Path, typer.Argument(help="Output folder.", show_default=False)],
    clips: Annotated[
        int | None, typer.Option(min=12, help="Number of clips in all splits.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the corpus.")] = 0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep an identical corpus that already exists.")
    ] = False,
    json_line: JsonOption = False,
) -> None:
    """Write the sample corpus: a synthetic sign language in the formats of real corpora.

    Example: kinesweep sample /tmp/kinesweep-sample --clips 60 --seed 3 --keep
    """
    from kinesweep.sources.synthetic import DEFAULT_CLIPS, write_sample

    summary = write_sample(folder, clips or DEFAULT_CLIPS, seed, keep=keep)
    print_line(
        f"{folder}: train {summary.train}, validation {summary.validation}, test {summary.test}"
    )
    perfect = summary.perfect_recogniser_bleu
    print_line(f"upper bound on validation with perfect sign recognition: {perfect:.1f} BLEU")
    print_json_result({"folder": str(folder), **summary.as_dict()}, json_line)


@command
def prepare(
    corpus: Annotated[
        Literal["how2sign", "phoenix", "csl_daily", "openasl", "youtube_asl", "generic"],
        typer.Argument(help="Corpus that the annotations belong to."),
    ],
    annotations: Annotated[
        Path, typer.Argument(help="Folder of the published tables.", show_default=False)
    ],
    poses: Annotated[Path, typer.Argument(help="Folder of the `.pose` files.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Output folder for the TSVs.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing TSVs.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Convert a corpus's published annotations to TSVs; pose files are neither moved nor copied.

    Clips without a pose file are counted and listed in missing.tsv. If their videos exist, the
    command that estimates the poses is printed.

    Example: kinesweep prepare generic .kinesweep/sample .kinesweep/sample /tmp/tsv --overwrite
    """
    from kinesweep.sources import prepare as prepared

    found = prepared.prepare(corpus, annotations, poses, out, overwrite)
    for name, file in found.files.items():
        # A split without missing clips has no entry in `missing`.
        lost = found.missing.get(name, 0)
        print_line(f"{file}  {found.clips[name]} clips, {lost} without a pose file")
    for name in sorted(found.missing.keys() - found.files.keys()):
        print_line(
            f"{name}: none of {found.missing[name]} clips has a pose file; no TSV was written"
        )
    if found.unestimated:
        print_line(
            f"{found.unestimated} of the missing clips exist as videos or frames; estimate their"
            f" poses with `kinesweep estimate-poses {poses} --out {poses}`, then run `prepare`"
            " again"
        )
    print_line(f"media paths in the TSVs are relative to source.root={poses.absolute()}")
    files = {name: str(file) for name, file in found.files.items()}
    print_json_result({**vars(found), "files": files, "root": str(poses.absolute())}, json_line)


@command
def check(
    recipe: RecipeArgument, overrides: Overrides = None, json_line: JsonOption = False
) -> None:
    """Check a corpus for invalid rows, unreadable files and overlap between splits.

    Every file is opened. Exits with code 2 if a row is invalid. Shared sentences, documents and
    signers are reported but are not an error.

    Example: kinesweep check jobs/recipes/sample.yaml
    """
    from kinesweep.pipelines.corpus_check import check_corpus
    from kinesweep.pipelines.inputs import load_recipe

    found = check_corpus(load_recipe(recipe, overrides))
    for line in found.lines():
        print_line(line)
    problems = [vars(problem) for problem in found.problems]
    print_json_result({"problems": problems, "overlaps": found.overlaps.as_dict()}, json_line)
    if problems:
        raise SourceError(
            f"{len(problems)} rows are invalid (listed above); `extract` would drop and count them"
        )


@command
def split(
    recipe: RecipeArgument,
    out: Annotated[Path, typer.Argument(help="Output folder for the TSVs.", show_default=False)],
    overrides: Overrides = None,
    by: Annotated[
        Literal["signer", "document"], typer.Option(help="Property that no two splits may share.")
    ] = "signer",
    folds: Annotated[int, typer.Option(min=2, help="Number of cross-validation folds.")] = 5,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed for the assignment of groups to folds.")
    ] = 0,
    json_line: JsonOption = False,
) -> None:
    """Split train and validation into folds with disjoint signers or documents; keep test as it is.

    Example: kinesweep split jobs/recipes/sample.yaml /tmp/kinesweep-folds --by signer --folds 3
    """
    from kinesweep.pipelines.inputs import load_recipe
    from kinesweep.sources.splitting.cross_validation import folds_root, split_rows

    source = load_recipe(recipe, overrides).corpus
    files = split_rows(source, by=by, folds=folds, seed=seed, out=out)
    for file in files:
        print_line(str(file))
    key = "motions" if source.kind == "skeletons" else "root"
    print_line(f"media paths in the TSVs are relative to source.{key}={folds_root(source)}")
    print_json_result(
        {"files": [str(file) for file in files], "root": str(folds_root(source))}, json_line
    )


@command
def extract(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    json_line: JsonOption = False,
) -> None:
    """Compute the features of a corpus on Ray Data; unchanged clips are reused.

    Example: kinesweep extract jobs/recipes/sample.yaml
    """
    from kinesweep.pipelines.extraction import extract_features, store_facts
    from kinesweep.pipelines.inputs import load_recipe

    settings = load_recipe(recipe, overrides)
    if dry_run:
        from kinesweep.pipelines.dry_run import dry_extract

        expected = dry_extract(recipe, overrides or [])
        print_line(expected.line())
        print_json_result({"expected_s": vars(expected)}, json_line)
        return
    store = extract_features(settings)
    print_json_result(store_facts(store), json_line)


@command
def show(
    folder: Annotated[Path, typer.Argument(help="Feature store, or a recipe whose store is used.")],
    clip: Annotated[str | None, typer.Option(help="Id of a single clip to show.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Draw the clip's points into this file: an animation (.gif, .mp4) or an image of"
            " eight frames (.png)."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="TSV of predictions; the clip's prediction is added to the drawing."),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Print the contents of a feature store or of one clip; draw a clip's skeleton.

    Example: kinesweep show jobs/recipes/sample.yaml
    """
    from kinesweep.pipelines.extraction import open_store_or_recipe, store_facts
    from kinesweep.store.inspect.show import describe

    if out is None and predictions is not None:
        raise InputError("`--predictions` requires a drawing; pass its file as `--out`")
    if out is not None and clip is None:
        raise InputError("`--out` draws a single clip; pass its id as `--clip`")
    store, _ = open_store_or_recipe(folder)
    console.print(describe(store, clip))
    facts = store_facts(store)
    if out is not None and clip is not None:
        # Imported late: matplotlib and plotly take a second.
        from kinesweep.pipelines.clip_rendering import draw_clip

        facts |= draw_clip(store, clip, out, predictions)
    print_json_result(facts, json_line)


@command
def export_features(
    place: Annotated[Path, typer.Argument(help="Feature store, or a recipe whose store is used.")],
    out: Annotated[Path, typer.Argument(help="New output folder.", show_default=False)],
    overrides: Overrides = None,
    stream: Annotated[
        str | None, typer.Option(help="Stream to export, if the store has several.")
    ] = None,
    epoch: Annotated[int, typer.Option(min=0, help="Number of the first epoch's folder.")] = 0,
    augment: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of epochs of train, each varied by the recipe's augmentation."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder of an earlier export.")
    ] = False,
    json_line: JsonOption = False,
) -> None:
    """Export features in SSVP-SLT's layout: one manifest per split, one tensor file per clip.

    A source of the kind `feature_manifest` reads them.

    Example: kinesweep export-features jobs/recipes/sample.yaml /tmp/kinesweep-features --overwrite
    """
    from kinesweep.pipelines.extraction import open_store_or_recipe
    from kinesweep.store.export.export_ssvp import hand_over, variation_of

    store, recipe = open_store_or_recipe(place, overrides)
    if augment is not None and recipe is None:
        raise InputError(
            "`--augment` requires a recipe with `batch.augmentation` instead of a feature store"
        )
    variation = variation_of(recipe, store, augment) if recipe and augment else None
    with progress_bar("export") as update:
        done = hand_over(store, out, stream, epoch, variation, overwrite, update)
    counts = ", ".join(f"{split} {clips}" for split, clips in done.clips.items())
    print_line(f"{out}: `{done.stream}`, {done.width} values per frame; {counts}")
    if done.rate_hz is not None:
        # The layout does not store the frame rate, so whoever reads the features must pass it.
        print_line(f"{done.rate_hz:g} frames per second; to read them: source.fps={done.rate_hz:g}")
    for number, files in sorted(done.epochs.items()):
        print_line(f"epoch {number}: {files} of {done.clips['train']} clips of train")
    if done.references_left:
        # SSVP-SLT's manifests have one text per clip.
        print_line(f"left out: {done.references_left} references after the first one of their clip")
    print_json_result({"folder": str(out), **vars(done)}, json_line)
