"""Inputs of `kinesweep translate`: files, folders and tables, expanded to the clips in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.source import SingleSourceConfig, TsvConfig
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.core.clip import SPLITS, Clip
from kinesweep.core.errors import ClipError, InputError, KinesweepError
from kinesweep.core.paths import resolve_path_inside
from kinesweep.export.input_failure import FAILED_KEY, InputFailure, list_table_failures
from kinesweep.export.part_inputs import (
    RawParts,
    is_complete,
    make_path_inputs,
    read_part_table,
)
from kinesweep.export.raw_inputs import Input, describe_raw_files, get_raw_file_filter
from kinesweep.export.text_inputs import make_text_input, read_line_inputs
from kinesweep.sources.skeletons.motion_file import PACK_SUFFIX
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.sources.tsv.media_names import MediaKind
from kinesweep.sources.tsv.tsv_reader import read_table
from kinesweep.sources.tsv.tsv_rows import RowReader

_TABLE_SUFFIX = ".tsv"
# Kind of the source → kind of signal that its tables contain.
_MEDIA_KINDS: Mapping[str, MediaKind] = {
    "pose_tsv": "poses",
    "video_tsv": "videos",
    "feature_tsv": "features",
    "image_tsv": "images",
    "text_tsv": "texts",
    "signwriting_tsv": "texts",
}
# Name of the document that contains all clips if `--document` is given.
_SINGLE_DOCUMENT_NAME = "all"


def find_inputs(
    paths: Sequence[Path],
    source: SingleSourceConfig,
    as_one_document: bool = False,
    failures: list[InputFailure] | None = None,
    parts: RawParts | None = None,
) -> list[tuple[str, Input]]:
    """Find all clips that paths of files, folders and tables refer to.

    A file is one clip, and so is a folder of images if the model translates videos. Any other
    folder stands for all files below it that the model can translate, sorted by path. A `.tsv`
    table stands for its rows with their IDs, spans, prompts and documents; it needs no text column,
    and motions are found next to it.

    Args:
        paths: Paths of files, folders and tables.
        source: Corpus that the model was trained on, which determines the accepted files; the first
            one if there were several.
        as_one_document: Whether all clips form one document in the order of the result; documents
            named by tables are then ignored.
        failures: List to which paths and rows that cannot be used are added; None raises the error
            of the first one.
        parts: Parts of the model's features by stream; each reads a file of its own. None or empty:
            the model has a single kind of features.

    Returns:
        Display name and input of each clip, in the order of the paths and, within a table, of its
        rows. A row whose name occurs in several tables is called `TABLE: NAME`.

    Raises:
        InputError: If a path does not exist or contains no usable file, or a row is invalid. This
            and the following errors are raised only without `failures`.
        SourceError: If a table has errors.
        ClipError: If the motion of a row does not exist, or a media path leads out of the folder of
            its table.
    """
    found: list[tuple[Path, str, Input]] = []
    for path in paths:
        try:
            path_inputs, path_failures = (
                _expand_path_for_parts(path, parts) if parts else _expand_path(path, source)
            )
            if not path_inputs and not path_failures:
                raise InputError(f"`{path}` contains no {describe_raw_files(source)}")
        except KinesweepError as error:
            path_inputs, path_failures = [], [InputFailure.from_error(str(path), error)]
        if path_failures and failures is None:
            raise path_failures[0].error
        if failures is not None:
            failures += path_failures
        found += [(path, name, item) for name, item in path_inputs]
    # Texts are returned by name, so clips of two tables must not share one.
    paths_by_name: dict[str, set[Path]] = {FAILED_KEY: {Path()}}
    for path, name, _ in found:
        paths_by_name.setdefault(name, set()).add(path)
    named_inputs = [
        (f"{path}: {name}" if len(paths_by_name[name]) > 1 and name != str(path) else name, item)
        for path, name, item in found
    ]
    if not as_one_document:
        return named_inputs
    return [
        (name, replace(item, document=_SINGLE_DOCUMENT_NAME, order=position))
        for position, (name, item) in enumerate(named_inputs)
    ]


_Expansion = tuple[list[tuple[str, Input]], list[InputFailure]]
"""Display names and inputs of the clips of a path, and its rows that cannot be used."""


def _expand_path(path: Path, source: SingleSourceConfig) -> _Expansion:
    """Expand one path of a file, folder or table to its clips, as described at `find_inputs`.

    Args:
        path: Path of a file, folder or table.
        source: Corpus that the model was trained on.

    Returns:
        Named clips and failures; both are empty if a folder contains no usable file.

    Raises:
        InputError: If the path does not exist, or if the model translates no tables.
        SourceError: If a table of motions has errors.
    """
    is_accepted = get_raw_file_filter(source)
    # A folder of images passes `is_accepted` for video models and is then a single clip.
    if path.is_dir() and not is_accepted(path):
        files = [file for file in sorted(path.rglob("*")) if is_accepted(file)]
        return _make_file_inputs(files, source), []
    if not path.exists():
        raise InputError(f"`{path}` does not exist")
    if path.suffix.lower() == _TABLE_SUFFIX:
        if isinstance(source, SkeletonsConfig):
            return _read_motion_table(path, source)
        return _read_media_table(path, source)
    return _make_file_inputs([path], source), []


def _make_file_inputs(files: Sequence[Path], source: SingleSourceConfig) -> list[tuple[str, Input]]:
    """Make an input of each file, or of each line of files with texts.

    Raises:
        InputError: If a text file cannot be read or has no text.
    """
    if isinstance(source, TextTsvConfig | SignWritingTsvConfig):
        return [named for file in files for named in read_line_inputs(file, source)]
    return [(str(file), Input(file)) for file in files]


def _expand_path_for_parts(path: Path, parts: RawParts) -> _Expansion:
    """Expand one path to clips that have a file for each part of a model's features.

    Args:
        path: Path of a file, folder or table.
        parts: Parts of the model.

    Raises:
        InputError: If the path does not exist, or gives no file for a part.
        SourceError: If a table has errors.
    """
    if not path.exists():
        raise InputError(f"`{path}` does not exist")
    if path.suffix.lower() == _TABLE_SUFFIX:
        rows, parsed = read_part_table(path, parts)
        inputs = [(clip.id, _add_row_settings(item, path, clip)) for clip, item in rows]
        return inputs, list_table_failures([], parsed.invalid_rows)
    if path.is_dir() and not is_complete(path, parts):
        files = [file for file in sorted(path.rglob("*")) if is_complete(file, parts)]
        return [named for file in files for named in make_path_inputs(file, parts)], []
    return make_path_inputs(path, parts), []


def _read_media_table(path: Path, source: SingleSourceConfig) -> _Expansion:
    """Read the rows of a table of media files as inputs, in the order of the table.

    Args:
        path: Path of the table.
        source: Corpus that the model was trained on, which determines the kind of media.

    Raises:
        InputError: If the corpus of the model was not listed in such tables.
    """
    if source.kind not in _MEDIA_KINDS:
        raise InputError(
            f"`{path}` is a table, but this model translates {describe_raw_files(source)} and"
            " folders of them"
        )
    media_kind = _MEDIA_KINDS[source.kind]
    table = read_table(path, path.name)
    time_unit = source.time_unit if isinstance(source, TsvConfig | FeatureTsvConfig) else "ms"
    ignored = getattr(source, "ignore_columns", ())
    rows = RowReader(
        table, "test", time_unit, ignored, needs_text=False, media_kind=media_kind
    ).read()
    failures = list_table_failures(rows.errors, rows.invalid_rows)

    def make_input(clip: Clip) -> Input:
        if isinstance(source, TextTsvConfig | SignWritingTsvConfig):
            return make_text_input(path, clip, source, _get_document_name(path, clip))
        return _make_input(path, clip)

    return _make_inputs(rows.clips, make_input, failures)


def _read_motion_table(table: Path, source_config: SkeletonsConfig) -> _Expansion:
    """Read the rows of a motion table as inputs, as extraction reads them.

    The motions, and the reference motions of rows that have one, are read when an input is used.

    Args:
        table: Path of the table.
        source_config: Corpus that the model was trained on.

    Raises:
        SourceError: If the table has errors; the message names all of them.
    """
    # Motions are either in one pack next to the table, by index or name, or separate files in the
    # folder of the table.
    has_index_column = (
        source_config.columns.get("index", "index") in read_table(table, table.name).header
    )
    is_packed = has_index_column or table.with_suffix(PACK_SUFFIX).is_file()
    # The source of the recipe, restricted to this table as its test split.
    table_settings = {
        **dict.fromkeys(SPLITS),
        "test": str(table),
        "motions": None if is_packed else str(table.parent),
        "max_clips": None,
    }
    source = SkeletonsSource(source_config.model_copy(update=table_settings), needs_text=False)
    clips = source.list_clips("test")

    def make_input(clip: Clip) -> Input:
        return Input(
            source.resolve_media_path(clip),
            clip.span,
            document=_get_document_name(table, clip),
            order=clip.order,
            read_media=partial(source.read, clip),
            includes_reference_motion=bool(clip.reference),
        )

    return _make_inputs(clips, make_input, list_table_failures([], source.list_invalid_rows()))


def _make_inputs(
    clips: Sequence[Clip], make_input: Callable[[Clip], Input], failures: list[InputFailure]
) -> _Expansion:
    """Make the inputs of the rows of a table; a row whose file cannot be found is a failure.

    Args:
        clips: Usable rows of the table.
        make_input: Function that makes the input of a row.
        failures: Rows that cannot be used; they come first in the result.
    """
    named_inputs = []
    failures = list(failures)
    for clip in clips:
        try:
            named_inputs.append((clip.id, make_input(clip)))
        except ClipError as error:
            failures.append(InputFailure.from_error(clip.id, error))
    return named_inputs, failures


def _make_input(table: Path, clip: Clip) -> Input:
    """Convert a clip of a table of media files to an input.

    An empty prompt becomes None, which selects the bundle's default.

    Args:
        table: Path of the table, to whose folder the media path is relative.
        clip: Row of the table.

    Raises:
        ClipError: If the media path leads out of the folder of the table.
    """
    item = Input(resolve_path_inside(table.parent.absolute(), clip.media), clip.span)
    return _add_row_settings(item, table, clip)


def _add_row_settings(item: Input, table: Path, clip: Clip) -> Input:
    """Return an input with the prompts, document and position of its row of a table."""
    return replace(
        item,
        encoder_prompt=clip.encoder_prompt or None,
        decoder_prompt=clip.decoder_prompt or None,
        document=_get_document_name(table, clip),
        order=clip.order,
    )


def _get_document_name(table: Path, clip: Clip) -> str:
    """Return the document of a clip, unique among several tables; empty if the clip has none."""
    # Prefixed by the table, because another table may use the same document name.
    return f"{table}: {clip.document}" if clip.document else ""
