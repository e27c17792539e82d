"""The command `prepare`: published annotations, TensorFlow Datasets or Hugging Face data to TSVs.

The options of the three origins differ; one that does not belong to the origin is an error.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kinesweep.cli.console import JsonOption, print_json_result, print_line, wrap_command
from kinesweep.core.errors import InputError

if TYPE_CHECKING:
    from kinesweep.sources.prepare.media.prompts import Prompts
    from kinesweep.sources.prepare.preparation_result import PreparationResult

_IMPORT_OPTIONS = (
    "media",
    "fps",
    "config",
    "limit",
    "prompt_encoder",
    "prompt_decoder",
    "language",
)
_OPTIONS_BY_ORIGIN: Mapping[str, Sequence[str]] = {
    "files": ("languages", "media"),
    "tfds": (
        *_IMPORT_OPTIONS,
        *("pose_type", "attributes", "builder_options", "data_dir", "python", "text_column"),
    ),
    "hf": (*_IMPORT_OPTIONS, "columns", "revision", "pose_header", "time_unit"),
}
"""Origin → names of the parameters that only some origins have."""


@wrap_command
def prepare(  # noqa: PLR0913 (options of a command)
    context: typer.Context,
    corpus: Annotated[
        str,
        typer.Argument(
            help="Corpus: how2sign, phoenix, csl_daily, openasl, youtube_asl, dailymoth or generic;"
            " with `--from tfds` one of sign-language-datasets, such as phoenix or dgs_corpus; with"
            " `--from hf` a name on the Hub, a folder of Parquet files or a saved folder.",
            show_default=False,
        ),
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[ANNOTATIONS POSES] OUT",
            help="Folder of the published tables, folder of the `.pose` files or videos, output"
            " folder; with `--from tfds` and `--from hf`, only the output folder.",
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
    json_line: JsonOption = False,
) -> None:
    """Convert a published corpus to TSVs.

    From files, media are neither moved nor copied; if the videos of clips without poses exist, the
    command that estimates them is printed. Captions of youtube_asl may be VTT, SRT,
    YouTube's JSON or XML; rolling automatic captions are joined, and marks such as [Music] are
    removed and counted.

    `prepare phoenix OUT --from tfds` and `prepare DATASET OUT --from hf --column text=translation`
    write or link the media files into OUT too; the same command continues after an interruption.

    Every row is written or counted: clips without a media file are listed in missing.tsv, rows
    without a text, media or a span in dropped.tsv.

    Example: kinesweep prepare generic .kinesweep/sample .kinesweep/sample /tmp/tsv --overwrite
    """
    _check_options(context, origin)
    *folders, out = paths
    if len(folders) != (2 if origin == "files" else 0):
        expected = "ANNOTATIONS POSES OUT" if origin == "files" else "OUT"
        raise InputError(f"`--from {origin}` takes {expected} after the corpus; got {len(paths)}")
    values = context.params
    if origin == "files":
        result, root = _prepare_files(corpus, paths, values), folders[1]
    else:
        from kinesweep.sources.prepare.media.prompts import Prompts

        prompts = Prompts(prompt_encoder, prompt_decoder, language)
        run = _prepare_tfds if origin == "tfds" else _prepare_hub
        result, root = run(corpus, out, prompts, values), out
    for line in result.format_lines(root):
        print_line(line)
    print_line(
        f"media paths in the TSVs are relative to source.root={root.absolute()};"
        f" source.kind={result.source_kind}"
    )
    files = {name: str(file) for name, file in result.files.items()}
    print_json_result({**vars(result), "files": files, "root": str(root.absolute())}, json_line)


def _check_options(context: typer.Context, origin: str) -> None:
    """Check that every given option belongs to the origin.

    Raises:
        InputError: If one does not; names it and the origins that it belongs to.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        origins = [key for key, names in _OPTIONS_BY_ORIGIN.items() if name in names]
        if origins and origin not in origins and source is not None and source.name != "DEFAULT":
            others = " and ".join(f"`--from {key}`" for key in origins)
            raise InputError(f"`{parameter.opts[0]}` belongs to {others}, not to `--from {origin}`")


def _prepare_files(
    corpus: str, paths: Sequence[Path], values: Mapping[str, Any]
) -> "PreparationResult":
    """Prepare a corpus from its published files.

    Raises:
        InputError: If there is no such corpus, or for the reasons of `prepare_corpus`.
    """
    from kinesweep.config.suggestions import suggest_closest_word
    from kinesweep.sources.prepare import ANNOTATION_READERS, prepare_corpus

    if corpus not in ANNOTATION_READERS:
        hint = suggest_closest_word(corpus, list(ANNOTATION_READERS))
        raise InputError(
            f"there are no published files of `{corpus}`{hint}; available:"
            f" {', '.join(ANNOTATION_READERS)}; others may be in `--from tfds`"
        )
    # Codes are compared in lower case, and `de, en` may contain spaces.
    given = (values["languages"] or "").lower().split(",")
    codes = [code.strip() for code in given if code.strip()]
    overwrite, media = values["overwrite"], values["media"]
    tables, root, out = paths
    return prepare_corpus(corpus, tables, root, out, overwrite, codes, media=media)


def _prepare_tfds(
    corpus: str, out: Path, prompts: "Prompts", values: Mapping[str, Any]
) -> "PreparationResult":
    """Prepare a corpus of TensorFlow Datasets with the options of the command."""
    from kinesweep.pipelines.corpus_preparation import prepare_from_tfds
    from kinesweep.sources.prepare.tfds.tfds_request import TfdsSettings, parse_config_value

    if values["media"] == "features":
        raise InputError("`--media features` belongs to `--from hf`; use poses or videos")
    attributes = _parse_pairs("--set", values["attributes"])
    settings = TfdsSettings(
        media=values["media"] or "poses",
        pose_type=values["pose_type"],
        fps=values["fps"],
        config_name=values["config"],
        config={key: parse_config_value(value) for key, value in attributes.items()},
        builder_options=_parse_pairs("--builder-option", values["builder_options"]),
        data_dir=values["data_dir"],
        text_field=values["text_column"],
        limit=values["limit"],
    )
    python, overwrite = values["python"], values["overwrite"]
    return prepare_from_tfds(
        corpus, out, settings, prompts=prompts, python=python, overwrite=overwrite
    )


def _prepare_hub(
    name: str, out: Path, prompts: "Prompts", values: Mapping[str, Any]
) -> "PreparationResult":
    """Prepare a data set of Hugging Face with the options of the command."""
    from kinesweep.pipelines.corpus_preparation import prepare_from_hub
    from kinesweep.sources.prepare.hub.hub_preparation import HubSettings

    if values["fps"] is not None and not values["fps"] > 0:
        raise InputError(f"`--fps` must be above 0, but is {values['fps']:g}")
    settings = HubSettings(
        config=values["config"],
        revision=values["revision"],
        media=values["media"],
        columns=_parse_pairs("--column", values["columns"]),
        pose_header=values["pose_header"],
        fps=values["fps"],
        time_unit=values["time_unit"],
        limit=values["limit"],
    )
    return prepare_from_hub(name, out, settings, prompts=prompts, overwrite=values["overwrite"])


def _parse_pairs(option: str, pairs: Sequence[str] | None) -> dict[str, str]:
    """Parse the values `KEY=VALUE` of an option.

    Raises:
        InputError: If one has no `=`, or a key is given twice.
    """
    values: dict[str, str] = {}
    for pair in pairs or ():
        key, separator, value = pair.partition("=")
        if not separator or not key or not value:
            raise InputError(f"`{option}` must be KEY=VALUE, but is `{pair}`")
        if key in values:
            raise InputError(f"`{option}` sets `{key}` twice")
        values[key] = value
    return values
