"""Tables as inputs of `kinesweep translate`: each row becomes a named clip or a failure.

A row that cannot be used does not stop the others, since a table of thousands of clips shall not
have to be corrected before any of it is translated; the caller decides whether failures are fatal.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.source import SingleSourceConfig
from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.core.clip import SPLITS, Clip
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.paths import resolve_path_inside
from kinesweep.export.estimated_motions import is_video, reads_videos
from kinesweep.export.input_failure import InputFailure, list_table_failures
from kinesweep.export.part_inputs import RawParts, read_part_table
from kinesweep.export.raw_file_kinds import get_media_kind, get_time_unit
from kinesweep.export.raw_inputs import Input, describe_raw_files
from kinesweep.export.text_inputs import make_text_input
from kinesweep.sources.skeletons.motion_file import PACK_SUFFIX
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.sources.tsv.tsv_reader import read_table
from kinesweep.sources.tsv.tsv_rows import RowReader

Expansion = tuple[list[tuple[str, Input]], list[InputFailure]]
"""Display names and inputs of the clips of a path, and its rows that cannot be used."""


def read_media_table(path: Path, source: SingleSourceConfig) -> Expansion:
    """Read the rows of a table of media files as inputs, in the order of the table.

    Args:
        path: Path of the table.
        source: Corpus that the model was trained on, which determines the kind of media.

    Raises:
        InputError: If the corpus of the model was not listed in such tables.
    """
    media_kind = get_media_kind(source)
    if media_kind is None:
        raise InputError(
            f"`{path}` is a table, but this model translates {describe_raw_files(source)} and"
            " folders of them"
        )
    table = read_table(path, path.name)
    time_unit = get_time_unit(source)
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


def read_motion_table(table: Path, source_config: SkeletonsConfig) -> Expansion:
    """Read the rows of a motion table as inputs, as extraction reads them.

    The motions, and the reference motions of rows that have one, are read when an input is used. A
    row may name a video if the model was trained on joints that were estimated from videos.

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
    media_by_id = {clip.id: clip.media for clip in clips}

    def find_film(media: str) -> Path | None:
        if not media or not reads_videos(source_config):
            return None
        path = resolve_path_inside(table.parent.absolute(), media)
        return path if is_video(path) else None

    def make_input(clip: Clip) -> Input:
        film = find_film(clip.media)
        if film is not None:
            # A reference is the id of a row, or else a film itself.
            reference = find_film(media_by_id.get(clip.reference, clip.reference))
            item = Input(film, clip.span, auxiliary_file=reference)
            return _add_row_settings(item, table, clip)
        return Input(
            source.resolve_media_path(clip),
            clip.span,
            document=_get_document_name(table, clip),
            order=clip.order,
            read_media=partial(source.read, clip),
            includes_reference_motion=bool(clip.reference),
        )

    return _make_inputs(clips, make_input, list_table_failures([], source.list_invalid_rows()))


def read_multi_part_table(path: Path, parts: RawParts) -> Expansion:
    """Read the rows of a table with a file for each part of a model's features.

    Args:
        path: Path of the table.
        parts: Parts of the model.

    Raises:
        SourceError: If the table has errors.
        ClipError: If a media path leads out of the folder of the table.
    """
    rows, parsed = read_part_table(path, parts)
    inputs = [(clip.id, _add_row_settings(item, path, clip)) for clip, item in rows]
    return inputs, list_table_failures([], parsed.invalid_rows)


def _make_inputs(
    clips: Sequence[Clip], make_input: Callable[[Clip], Input], failures: list[InputFailure]
) -> Expansion:
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
