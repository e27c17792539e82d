"""Media paths of a column other than `signal`, for corpora that list several media of each clip.

The clips keep the ids that they have by the column `signal`, so that the streams of a clip can be
joined. A row without a path in the other column is unusable, not an error: its clip lacks only this
medium.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.units import Span
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.row_spans import TimeUnit, parse_time
from kinesweep.sources.tsv.tsv_columns import MEANING_BY_NAME
from kinesweep.sources.tsv.tsv_reader import Table, TableRow
from kinesweep.sources.tsv.tsv_rows import make_default_id, make_ids_unique

_SIGNAL_MEANINGS = ("signal", "input_clip")


@dataclass(frozen=True)
class MediaColumn:
    """A table whose media paths are those of another column.

    Attributes:
        table: Table with the other column as `signal`, without the rows where it is empty.
        column: Name of the other column.
        ignored_columns: Columns to ignore, which are those that named the media before.
        id_media: Row → media path from which the id of its clip is made.
        empty_rows: Rows where the column is empty.
        errors: Errors of the table.
    """

    table: Table
    column: str
    ignored_columns: tuple[str, ...]
    id_media: Mapping[str, str]
    empty_rows: tuple[TableRow, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()

    @classmethod
    def select(cls, table: Table, column: str) -> "MediaColumn":
        """Select the column of a table that holds the media paths.

        Args:
            table: Table of a corpus.
            column: Name of the column.
        """
        if column not in table.header:
            known = ", ".join(f"`{name}`" for name in table.header)
            error = (f"{table.name}:1", f"there is no column `{column}`; the table has {known}")
            return cls(table, column, (), {}, errors=(error,))
        index = table.header.index(column)
        signals = [
            position
            for position, name in enumerate(table.header)
            if MEANING_BY_NAME.get(name) in _SIGNAL_MEANINGS and position != index
        ]
        id_media = {}
        for row in table.rows:
            # A row without another medium takes its id from this column.
            named = [row.fields[position].strip() for position in signals]
            media = next(filter(None, reversed(named)), "") or row.fields[index].strip()
            id_media[f"{table.name}:{row.line_number}"] = media
        header = list(table.header)
        header[index] = "signal"
        for position in signals:
            # Renamed, because two columns with the meaning `signal` are an error of the table.
            header[position] = f"({header[position]})"
        used = tuple(row for row in table.rows if row.fields[index].strip())
        empty = tuple(row for row in table.rows if not row.fields[index].strip())
        return cls(
            replace(table, header=tuple(header), rows=used),
            column,
            tuple(header[position] for position in signals),
            id_media,
            empty,
        )

    def restore_ids(self, parsed: ParsedRows, split: str, time_unit: TimeUnit) -> ParsedRows:
        """Give parsed rows their ids by `signal`, and add the rows where the column is empty.

        Args:
            parsed: Rows that were read from `table`.
            split: Split of the table.
            time_unit: Unit of the start and end times.
        """
        parsed.clips = [self._restore_id(clip, parsed) for clip in parsed.clips]
        empty_rows = [
            InvalidRow(
                f"{self.table.name}:{row.line_number}",
                self._make_id(row, time_unit),
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

    def _make_id(self, row: TableRow, time_unit: TimeUnit) -> str:
        """Make the id that the clip of a row without a path in the column would have."""
        values = {
            MEANING_BY_NAME[name]: field.strip()
            for name, field in zip(self.table.header, row.fields, strict=False)
            if name in MEANING_BY_NAME
        }
        bounds = []
        for name in ("signal_start", "signal_end"):
            try:
                bounds.append(parse_time(values.get(name, ""), time_unit))
            except ValueError:
                bounds.append(None)
        media = self.id_media[f"{self.table.name}:{row.line_number}"]
        unit: Literal["ms", "frames"] = "frames" if time_unit == "frames" else "ms"
        return values.get("id") or make_default_id(media, Span(bounds[0], bounds[1], unit))

    def _restore_id(self, clip: Clip, parsed: ParsedRows) -> Clip:
        """Return a clip with the id that it has by `signal`, unless its row has a column `id`."""
        if clip.row not in parsed.rows_without_id:
            return clip
        return replace(clip, id=make_default_id(self.id_media[clip.row], clip.span))


def make_ids_unique_by_signal(
    clips: list[Clip], rows_without_id: set[str], id_media: Mapping[str, str]
) -> list[Clip]:
    """Return the clips with repeated ids lengthened as if their media were those of `signal`.

    Args:
        clips: Clips of all splits.
        rows_without_id: Rows without a value in the column `id`.
        id_media: Row → media path in the column `signal`.
    """
    by_signal = [replace(clip, media=id_media.get(clip.row, clip.media)) for clip in clips]
    unique = make_ids_unique(by_signal, rows_without_id)
    return [replace(named, media=clip.media) for named, clip in zip(unique, clips, strict=True)]
