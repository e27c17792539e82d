"""Media paths of a column other than `signal`, for corpora that list several media of each clip.

The clips keep the ids that they have by the column `signal` (or by another one, if there is none),
so that the streams of a clip can be joined. Columns `NAME_start` and `NAME_end` are the times in
the media of a column NAME; without them, these are `signal_start` and `signal_end`. A row without a
path in the other column is unusable, not an error: its clip lacks only this medium.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.units import Span
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.row_spans import TimeUnit, parse_time
from kinesweep.sources.tsv.tsv_columns import MEANING_BY_NAME
from kinesweep.sources.tsv.tsv_reader import Table, TableRow
from kinesweep.sources.tsv.tsv_rows import make_default_id, make_ids_unique

IdMedia = tuple[str, Span]
_SIGNAL_MEANINGS = ("signal", "input_clip")
_STANDARD_TIMES = ("signal_start", "signal_end")


TIME_SUFFIXES = ("_start", "_end")
"""What the names of the columns with the times of a medium end with."""


@dataclass(frozen=True)
class MediaColumn:
    """A table whose media paths are those of another column.

    Attributes:
        table: Table with the other column as `signal`, without the rows where it is empty.
        column: Name of the other column.
        ignored_columns: Columns to ignore, which are those that named the media before.
        id_media: Row → media path and span from which the id of its clip is made.
        empty_rows: Rows where the column is empty.
        errors: Errors of the table.
    """

    table: Table
    column: str
    ignored_columns: tuple[str, ...]
    id_media: Mapping[str, IdMedia]
    empty_rows: tuple[TableRow, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()

    @classmethod
    def select(
        cls,
        table: Table,
        column: str,
        time_unit: TimeUnit = "ms",
        *,
        id_column: str | None = None,
        ignored_columns: Sequence[str] = (),
    ) -> "MediaColumn":
        """Select the column of a table that holds the media paths.

        Args:
            table: Table of a corpus.
            column: Name of the column.
            time_unit: Unit of the start and end times.
            id_column: Column by which clips are named if there is no `signal`; None: `column`.
            ignored_columns: Columns that hold no times.
        """
        if column not in table.header:
            known = ", ".join(f"`{name}`" for name in table.header)
            error = (f"{table.name}:1", f"there is no column `{column}`; the table has {known}")
            return cls(table, column, (), {}, errors=(error,))
        index = table.header.index(column)
        header = ["" if name in ignored_columns else name for name in table.header]
        times = _find_times(header, column)
        id_media = _find_id_media(table, header, column, id_column, time_unit)
        renamed = {i: n for i, n in zip(times, _STANDARD_TIMES, strict=True) if i is not None}
        renamed[index] = "signal"
        # Times of `signal` are not those of a medium that has its own.
        replaced = (*_SIGNAL_MEANINGS, *(_STANDARD_TIMES if set(times) - {None} else ()))
        id_columns = (id_column, *list_time_columns(id_column)) if id_column else ()
        hidden = [
            position
            for position, name in enumerate(table.header)
            if (MEANING_BY_NAME.get(name) in replaced or name in id_columns)
            and position not in renamed
        ]
        renamed |= {position: f"({table.header[position]})" for position in hidden}
        names = tuple(renamed.get(i, name) for i, name in enumerate(table.header))
        used = tuple(row for row in table.rows if row.fields[index].strip())
        empty = tuple(row for row in table.rows if not row.fields[index].strip())
        ignored = tuple(names[position] for position in hidden)
        return cls(replace(table, header=names, rows=used), column, ignored, id_media, empty)

    def restore_ids(self, parsed: ParsedRows, split: str) -> ParsedRows:
        """Give parsed rows their ids by `signal`, and add the rows where the column is empty.

        Args:
            parsed: Rows that were read from `table`.
            split: Split of the table.
        """
        parsed.clips = [self._restore_id(clip, parsed) for clip in parsed.clips]
        empty_rows = [
            InvalidRow(
                f"{self.table.name}:{row.line_number}",
                self._make_id(row),
                "missing_media",
                f"`{self.column}` is empty",
                split,
            )
            for row in self.empty_rows
        ]
        parsed.invalid_rows = sorted(
            [*parsed.invalid_rows, *empty_rows], key=lambda row: int(row.row.rpartition(":")[2])
        )
        return parsed

    def _make_id(self, row: TableRow) -> str:
        """Make the id that the clip of a row without a path in the column would have."""
        names = dict(zip(self.table.header, row.fields, strict=False))
        given_id = names.get("id", "").strip()
        return given_id or make_default_id(*self.id_media[f"{self.table.name}:{row.line_number}"])

    def _restore_id(self, clip: Clip, parsed: ParsedRows) -> Clip:
        """Return a clip with the id that it has by `signal`, unless its row has a column `id`."""
        if clip.row not in parsed.rows_without_id:
            return clip
        return replace(clip, id=make_default_id(*self.id_media[clip.row]))


def make_ids_unique_by_signal(
    clips: list[Clip], rows_without_id: set[str], id_media: Mapping[str, IdMedia]
) -> list[Clip]:
    """Return the clips with repeated ids lengthened as if their media were those of `signal`.

    Args:
        clips: Clips of all splits.
        rows_without_id: Rows without a value in the column `id`.
        id_media: Row → media path and span in the column `signal`.
    """
    by_signal = []
    for clip in clips:
        media, span = id_media.get(clip.row, (clip.media, clip.span))
        by_signal.append(replace(clip, media=media, span=span))
    unique = make_ids_unique(by_signal, rows_without_id)
    return [replace(clip, id=named.id) for named, clip in zip(unique, clips, strict=True)]


def list_time_columns(column: str) -> tuple[str, str]:
    """Return the names of the columns with the start and end times of a column's media."""
    return f"{column}{TIME_SUFFIXES[0]}", f"{column}{TIME_SUFFIXES[1]}"


def _find_times(header: Sequence[str], column: str) -> tuple[int | None, int | None]:
    """Find the columns with the times of a column's own media; None: there is no such column."""
    start, end = (
        header.index(name) if name in header else None for name in list_time_columns(column)
    )
    return start, end


def _find_id_media(
    table: Table, header: Sequence[str], column: str, id_column: str | None, time_unit: TimeUnit
) -> dict[str, IdMedia]:
    """Find the media path and span by which the clip of each row is named.

    Args:
        table: Table of a corpus.
        header: Its columns; the names of ignored ones are empty.
        column: Column of the media paths.
        id_column: Column by which clips are named if there is no `signal`; None: `column`.
        time_unit: Unit of the start and end times.

    Returns:
        Row → media path and span.
    """
    index = table.header.index(id_column if id_column in table.header else column)
    meanings = [MEANING_BY_NAME.get(name) for name in header]
    # An ignored `signal` still names the clips.
    signals = [
        i
        for i, name in enumerate(table.header)
        if MEANING_BY_NAME.get(name) in _SIGNAL_MEANINGS and i != index
    ]
    # Clips that are named by `signal` have its times, and all others those of their own column.
    own_times = (None, None) if signals else _find_times(header, table.header[index])
    times = [
        meanings.index(name) if own is None and name in meanings else own
        for own, name in zip(own_times, _STANDARD_TIMES, strict=True)
    ]
    unit: Literal["ms", "frames"] = "frames" if time_unit == "frames" else "ms"
    found = {}
    for row in table.rows:
        paths = [row.fields[position].strip() for position in (index, *signals)]
        bounds = [None if i is None else _parse_bound(row.fields[i], time_unit) for i in times]
        path = next(filter(None, reversed(paths)), "")
        found[f"{table.name}:{row.line_number}"] = (path, Span(bounds[0], bounds[1], unit))
    return found


def _parse_bound(text: str, time_unit: TimeUnit) -> float | None:
    """Parse a time; None if it is wrong, which the reader of the rows reports."""
    try:
        return parse_time(text.strip(), time_unit)
    except ValueError:
        return None
