"""The command `prepare`: published annotations, TensorFlow Datasets or Hugging Face data to TSVs.

The options of the origins differ; one that does not belong to the origin is an error.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kinesweep.cli.console import JsonOption, print_json_result, print_line, wrap_command
from kinesweep.cli.preparation.motion_options import (
    MaxFramesOption,
    MaxReferencesOption,
    MinFramesOption,
    MirroredOption,
    MotionFeaturesOption,
    TextFormOption,
)
from kinesweep.cli.preparation.origins import run_preparation


@wrap_command
def prepare(  # noqa: PLR0913 (options of a command)
    context: typer.Context,
    corpus: Annotated[
        str,
        typer.Argument(
            help="Corpus: how2sign, phoenix, csl_daily, openasl, youtube_asl, dailymoth, generic,"
            " humanml3d or kit_ml; with `--from tfds` one of sign-language-datasets, such as"
            " phoenix or dgs_corpus; with `--from hf` a name on the Hub, a folder of Parquet files"
            " or a saved folder.",
            show_default=False,
        ),
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[ANNOTATIONS POSES] OUT",
            help="Folder of the published tables, folder of the `.pose` files or videos, output"
            " folder; for humanml3d and kit_ml, folder of the corpus, output folder; with"
            " `--from tfds` and `--from hf`, only the output folder.",
            show_default=False,
        ),
    ],
    origin: Annotated[
        Literal["files", "tfds", "hf"],
        typer.Option("--from", help="Published files, TensorFlow Datasets or Hugging Face."),
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
        Literal["poses", "videos", "features"] | None,
        typer.Option(help="Media to find or write. Default: poses, or what the corpus has."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="hf: MEANING=COLUMN, such as text=translation.de or pose=keypoints; may be"
            " repeated. Default: columns with usual names.",
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(help="tfds: field of the text, such as english for dgs_corpus."),
    ] = None,
    pose_type: Annotated[
        str | None, typer.Option(help="tfds: poses of this estimator. Default: holistic.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            help="tfds: frame rate that poses are thinned out to; hf: frame rate of poses that are"
            " arrays."
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="tfds: name of the builder's configuration, whose data may be prepared already;"
            " hf: subset of the data set."
        ),
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option("--set", help="tfds: KEY=VALUE, an attribute of the configuration."),
    ] = None,
    builder_options: Annotated[
        list[str] | None,
        typer.Option(
            "--builder-option",
            help="tfds: KEY=VALUE, an argument of the builder; the value env:NAME is read from an"
            " environment variable.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="tfds: data folder. Default: ~/tensorflow_datasets.")
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            help="tfds: interpreter that has sign-language-datasets. Default: an environment that"
            " is created, of 2.5 GB."
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="hf: branch, tag or commit of a data set on the Hub.")
    ] = None,
    pose_header: Annotated[
        Path | None,
        typer.Option(help="hf: `.pose` file with the header of poses that are arrays."),
    ] = None,
    time_unit: Annotated[
        Literal["ms", "s"], typer.Option(help="hf: unit of the columns start and end.")
    ] = "ms",
    limit: Annotated[
        int | None, typer.Option(min=1, help="tfds, hf: number of rows of each split.")
    ] = None,
    prompt_encoder: Annotated[
        str | None,
        typer.Option("--encoder-prompt", help="tfds, hf: encoder prompt of all clips."),
    ] = None,
    prompt_decoder: Annotated[
        str | None,
        typer.Option("--decoder-prompt", help="tfds, hf: decoder prompt of all clips."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="tfds, hf: language code of the texts.")
    ] = None,
    min_frames: MinFramesOption = None,
    max_frames: MaxFramesOption = 199,
    mirrored: MirroredOption = True,
    texts: TextFormOption = "captions",
    max_references: MaxReferencesOption = None,
    motion_features: MotionFeaturesOption = "joints",
    json_line: JsonOption = False,
) -> None:
    """Convert a published corpus to TSVs.

    From files, media are neither moved nor copied; if the videos of clips without poses exist, the
    command that estimates them is printed. Captions of youtube_asl may be VTT, SRT,
    YouTube's JSON or XML; rolling automatic captions are joined, and marks such as [Music] are
    removed and counted.

    `prepare humanml3d FOLDER OUT` reads the lists, texts and joints of HumanML3D (kit_ml: KIT-ML).
    Captions of the same frames become the texts of one clip.

    `prepare phoenix OUT --from tfds` and `prepare DATASET OUT --from hf --column text=translation`
    write or link the media files into OUT too; the same command continues after an interruption.

    Every row is written or counted: clips without a media file are listed in missing.tsv, rows
    without a text, media or a span in dropped.tsv.

    Example: kinesweep prepare generic .kinesweep/sample .kinesweep/sample /tmp/tsv --overwrite
    """
    result, root = run_preparation(context, origin, corpus, paths)
    for line in result.format_lines(root):
        print_line(line)
    print_line(result.format_source(root))
    files = {name: str(file) for name, file in result.files.items()}
    print_json_result({**vars(result), "files": files, "root": str(root.absolute())}, json_line)
