"""The command `prepare`: published annotations, TensorFlow Datasets or Hugging Face data to TSVs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kinesweep.cli.console import JsonOption, print_json_result, print_line, wrap_command
from kinesweep.core.errors import InputError

if TYPE_CHECKING:
    from kinesweep.sources.prepare.preparation_result import PreparationResult

_FILE_CORPORA = ("how2sign", "phoenix", "csl_daily", "openasl", "youtube_asl", "generic")


@wrap_command
def prepare(  # noqa: PLR0913 (options of a command)
    corpus: Annotated[
        str,
        typer.Argument(
            help="Corpus of the annotations: how2sign, phoenix, csl_daily, openasl, youtube_asl or"
            " generic; with `--from tfds`, such as phoenix or dgs_corpus.",
            show_default=False,
        ),
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[ANNOTATIONS POSES] OUT",
            help="Folder of the published tables, folder of the `.pose` files, output folder; with"
            " `--from tfds`, only the output folder.",
            show_default=False,
        ),
    ],
    origin: Annotated[
        Literal["files", "tfds"],
        typer.Option("--from", help="Where the corpus comes from."),
    ] = "files",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace existing TSVs, and media written with other settings."
        ),
    ] = False,
    languages: Annotated[
        str | None,
        typer.Option(
            help="Languages of captions in the order of preference, such as `de,en`, or `all`"
            " (youtube_asl only). Default: English, or else the only language of a video."
        ),
    ] = None,
    media: Annotated[
        Literal["poses", "videos"], typer.Option(help="Media files to write (tfds).")
    ] = "poses",
    pose_type: Annotated[
        str | None,
        typer.Option(help="Poses of this estimator, such as openpose (tfds). Default: holistic."),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frame rate that poses are thinned out to (tfds).")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="Name of the builder's configuration, whose data may be prepared already (tfds)."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, an attribute of the configuration (tfds)."),
    ] = None,
    builder_options: Annotated[
        list[str] | None,
        typer.Option(
            "--builder-option",
            help="KEY=VALUE, an argument of the builder; `env:NAME` is an environment variable"
            " (tfds).",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Data folder of TensorFlow Datasets. Default: its own default."),
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            help="Interpreter with sign-language-datasets. Default: an environment that is created."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Number of rows of each split (tfds). Default: all.")
    ] = None,
    encoder_prompt: Annotated[
        str | None, typer.Option(help="Encoder prompt of all clips. Default: the sign language.")
    ] = None,
    decoder_prompt: Annotated[
        str | None, typer.Option(help="Decoder prompt of all clips. Default: the text's language.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language code of the texts. Default: that of the corpus.")
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Convert a published corpus to TSVs.

    Every row is written or counted: clips without a pose file are listed in missing.tsv, rows
    without a text or a span in dropped.tsv.

    Example: kinesweep prepare generic .kinesweep/sample .kinesweep/sample /tmp/tsv --overwrite
    """
