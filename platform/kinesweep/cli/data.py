"""Commands on data: sample, check, split, extract, show, export-features.

Every command imports what it needs in its body: PyTorch, Ray and the plotting libraries each take
seconds to import, and bad input should be rejected before that.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from kinesweep.core.errors import InputError, SourceError
from kinesweep.pipelines.progress import show_progress_bar

if TYPE_CHECKING:
    from kinesweep.store.export.export_ssvp import SsvpExportResult

RecipeArgument = Annotated[Path, typer.Argument(help="Recipe file (YAML).", show_default=False)]


@wrap_command
def sample(
    folder: Annotated[Path, typer.Argument(help="Output folder.", show_default=False)],
    clips: Annotated[
        int | None, typer.Option(min=12, help="Number of clips in all splits.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the corpus.")] = 0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep an identical corpus that already exists.")
    ] = False,
    films: Annotated[
        bool, typer.Option("--films", help="Write every clip as a video too, to film_corpus/.")
    ] = False,
    json_line: JsonOption = False,
) -> None:
    """Write the sample corpus: a synthetic sign language in the formats of real corpora.

    Example: kinesweep sample /tmp/kinesweep-sample --clips 60 --seed 3 --keep
    """
    from kinesweep.sources.synthetic import DEFAULT_NUM_CLIPS, write_sample_corpus

    summary = write_sample_corpus(
        folder, clips or DEFAULT_NUM_CLIPS, seed, keep_existing=keep, films=films
    )
    print_line(
        f"{folder}: train {summary.train}, validation {summary.validation}, test {summary.test}"
    )
    perfect = summary.perfect_recognition_bleu
    print_line(f"upper bound on validation with perfect sign recognition: {perfect:.1f} BLEU")
    print_json_result({"folder": str(folder), **summary.as_dict()}, json_line)


@wrap_command
def check(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every frame of a video, not only the first.")
    ] = False,
    json_line: JsonOption = False,
) -> None:
    """Check a corpus for everything that `extract` would drop or refuse, in one run.

    Every clip passes through the computation of the extraction; videos are only opened and their
    frames counted. Exits with code 2 if a row is invalid. Warnings, low detection rates, and
    sentences, documents and signers that splits share are reported but are not an error.

    Example: kinesweep check jobs/recipes/sample.yaml
    """
    from kinesweep.pipelines.corpus_check import check_corpus
    from kinesweep.pipelines.inputs import load_recipe

    settings = load_recipe(recipe, overrides)
    with show_progress_bar("check") as update:
        result = check_corpus(settings, update, decode)
    for line in result.format_lines():
        print_line(line)
    print_json_result(result.to_json(), json_line)
    if result.invalid_rows:
        raise SourceError(result.describe_invalid_rows())


@wrap_command
def split(
    recipe: RecipeArgument,
    out: Annotated[Path, typer.Argument(help="Output folder for the TSVs.", show_default=False)],
    overrides: OverridesArgument = None,
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
    from kinesweep.sources.splitting.cross_validation import get_folds_root, write_folds

    source = load_recipe(recipe, overrides).effective_source
    files = write_folds(source, by=by, num_folds=folds, seed=seed, out=out)
    for file in files:
        print_line(str(file))
    key = "motions" if source.kind == "skeletons" else "root"
    if hasattr(source, key):  # tables of texts name no files
        print_line(f"media paths in the TSVs are relative to source.{key}={get_folds_root(source)}")
    print_json_result(
        {"files": [str(file) for file in files], "root": str(get_folds_root(source))}, json_line
    )


@wrap_command
def extract(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    dry_run: DryRunOption = False,
    json_line: JsonOption = False,
) -> None:
    """Compute the features of a corpus on Ray Data; unchanged clips are reused.

    Example: kinesweep extract jobs/recipes/sample.yaml
    """
    from kinesweep.pipelines.extraction import extract_features, summarize_store
    from kinesweep.pipelines.inputs import load_recipe

    settings = load_recipe(recipe, overrides)
    if dry_run:
        from kinesweep.pipelines.dry_run import dry_run_extraction

        estimate = dry_run_extraction(recipe, overrides or [])
        print_line(estimate.format_summary())
        print_json_result({"expected_s": vars(estimate)}, json_line)
        return
    store = extract_features(settings)
    print_json_result(summarize_store(store), json_line)


@wrap_command
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
    from kinesweep.pipelines.extraction import open_store_from_path, summarize_store
    from kinesweep.store.inspect.show import describe_store

    if out is None and predictions is not None:
        raise InputError("`--predictions` requires a drawing; pass its file as `--out`")
    if out is not None and clip is None:
        raise InputError("`--out` draws a single clip; pass its id as `--clip`")
    store, _ = open_store_from_path(folder)
    console.print(describe_store(store, clip))
    summary = summarize_store(store)
    if out is not None and clip is not None:
        # Imported late: matplotlib and plotly take a second.
        from kinesweep.pipelines.clip_rendering import draw_clip

        summary |= draw_clip(store, clip, out, predictions)
    print_json_result(summary, json_line)


@wrap_command
def export_features(
    store_path: Annotated[
        Path, typer.Argument(help="Feature store, or a recipe whose store is used.")
    ],
    out: Annotated[Path, typer.Argument(help="New output folder.", show_default=False)],
    overrides: OverridesArgument = None,
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
    from kinesweep.pipelines.extraction import open_store_from_path
    from kinesweep.store.export.augmented_copies import build_augmented_copies_spec
    from kinesweep.store.export.export_ssvp import export_ssvp_features

    store, recipe = open_store_from_path(store_path, overrides)
    if augment is not None and recipe is None:
        raise InputError(
            "`--augment` requires a recipe with `batch.augmentation` instead of a feature store"
        )
    copies = None
    if recipe and augment:
        copies = build_augmented_copies_spec(
            store,
            recipe.batch.augmentation,
            recipe.training.seed,
            recipe.motion_stream_by_reference,
            augment,
        )
    with show_progress_bar("export") as update:
        result = export_ssvp_features(store, out, stream, epoch, copies, overwrite, progress=update)
    _print_exported_features(out, result)
    print_json_result({"folder": str(out), **vars(result)}, json_line)


def _print_exported_features(out: Path, result: "SsvpExportResult") -> None:
    """Print what an export in SSVP-SLT's layout contains and what it could not contain.

    Args:
        out: Output folder.
        result: Result of the export.
    """
    counts = ", ".join(f"{split} {clips}" for split, clips in result.clips.items())
    print_line(f"{out}: `{result.stream}`, {result.width} values per frame; {counts}")
    if result.rate_hz is not None:
        # The layout does not store the frame rate, so whoever reads the features must pass it.
        print_line(
            f"{result.rate_hz:g} frames per second; to read them: source.fps={result.rate_hz:g}"
        )
    for number, files in sorted(result.epochs.items()):
        print_line(f"epoch {number}: {files} of {result.clips['train']} clips of train")
    if result.references_left:
        # SSVP-SLT's manifests have one text per clip.
        print_line(
            f"left out: {result.references_left} references after the first one of their clip"
        )
