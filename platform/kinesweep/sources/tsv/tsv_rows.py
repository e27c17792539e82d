"""Conversion of the rows of a TSV of media files to clips: paths, spans, texts and ids.

A row becomes a clip, an invalid row (well formed, but without a text or without frames) or an error
of the table. Times are in milliseconds, seconds or frames; 0 or an empty field stands for the start
or end of the file, each bound separately. A clip's id is its `id` column, or else the name of its
file with `@start-end` appended if the clip is a part of the file. Where file names repeat, the path
replaces the name; where paths repeat, the split is prepended.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.tables.number_format import parse_whole_number
from kinesweep.core.units import Span
from kinesweep.sources.tsv.media_names import (
    MediaKind,
    find_media_error,
    get_pose_path,
    remove_media_suffix,
)
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.row_spans import (
    TimeUnit,
    find_missing_spans,
    find_unit_error,
    format_number,
    parse_time,
)
from kinesweep.sources.tsv.tsv_columns import parse_reference_number, resolve_columns
from kinesweep.sources.tsv.tsv_reader import Table, TableRow

_KINDS_WITHOUT_TIME = ("images", "texts")


@dataclass(frozen=True)
class RowReader:
    """A reader that converts the rows of one table of media files to clips.

    Attributes:
        table: Table to convert.
        split: Split that the clips belong to.
        time_unit: Unit of the start and end times.
        ignored_columns: Columns to skip without an error.
        needs_text: Whether a row without a text is invalid; False for clips to be translated.
        media_kind: Kind of signal that rows may contain.
    """

    table: Table
    split: str
    time_unit: TimeUnit
    ignored_columns: tuple[str, ...] = ()
    needs_text: bool = True
    media_kind: MediaKind = "poses"

    def read(self) -> ParsedRows:
        """Convert all rows of the table, and return its clips, invalid rows and errors."""
        parsed = ParsedRows(errors=list(self.table.errors))
        if not self.table.header:
            return parsed
        column_indices, errors = resolve_columns(
            self.table.header, self.ignored_columns, f"{self.table.name}:1", self.needs_text
        )
        parsed.errors += errors
        if errors:  # without a valid header every row would be reported
            return parsed
        next_order: dict[str, int] = {}
        # An `input_clip` has no span, whatever the other rows of its file say.
        whole_rows = set()
        for row in self.table.rows:
            values = {
                meaning: row.fields[index].strip() for meaning, index in column_indices.items()
            }
            self._read_row(row, values, next_order, parsed)
            if values.get("input_clip"):
                whole_rows.add(f"{self.table.name}:{row.line_number}")
        self._check_spans(parsed, whole_rows)
        return parsed

    def _check_spans(self, parsed: ParsedRows, whole_rows: set[str]) -> None:
        """Add an error for a wrong time unit, and remove the clips whose span is missing.

        Args:
            parsed: All rows of the table, which this method changes.
            whole_rows: Rows that name a file that is already cut, and have no span.
        """
        clips = [clip for clip in parsed.clips if not whole_rows or clip.row not in whole_rows]
        if self.time_unit == "ms":
            error_text = find_unit_error(clips)
            parsed.errors += [(self.table.name, error_text)] if error_text else []
        missing_rows = find_missing_spans(clips)
        if not missing_rows:
            return
        missing_locations = {row.row for row in missing_rows}
        parsed.clips = [clip for clip in parsed.clips if clip.row not in missing_locations]
        parsed.rows_without_id -= missing_locations
        parsed.invalid_rows = sorted(
            [*parsed.invalid_rows, *missing_rows], key=lambda row: int(row.row.rpartition(":")[2])
        )

    def _read_row(
        self, row: TableRow, values: dict[str, str], next_order: dict[str, int], parsed: ParsedRows
    ) -> None:
        """Add the clip of a row to `parsed`, or the row as an invalid row, or its errors.

        Args:
            row: Row of the table.
            values: Field of the row by the meaning of its column.
            next_order: Number of rows read so far by document, which this method updates.
            parsed: Result that this method extends.
        """
        location = f"{self.table.name}:{row.line_number}"
        media, span, errors = self._parse_signal(values)
        document = values.get("document", "")
        # Counted before a row can be rejected, so that gaps in a document stay visible in `order`.
        order = next_order.get(document, 0) if document else 0
        next_order[document] = order + 1
        if values.get("order"):
            try:
                order = parse_whole_number(values["order"])
            except ValueError as error:
                text = f"`order` must be a whole number, but is `{values['order']}`{error}"
                errors.append(text)
        if errors:
            parsed.errors += [(location, text) for text in errors]
            return
        clip = self._build_clip(values, media, span, order, location)
        invalid_row = _find_invalid_row(clip, self.needs_text, self.media_kind)
        if invalid_row is not None:
            parsed.invalid_rows.append(invalid_row)
        else:
            parsed.clips.append(clip)
            # The default id of a text is that of its row, which occurs only once.
            if not values.get("id") and self.media_kind != "texts":
                parsed.rows_without_id.add(clip.row)

    def _build_clip(
        self, values: dict[str, str], media: str, span: Span, order: int, location: str
    ) -> Clip:
        """Build the clip of a row from its fields by meaning and the values parsed from them."""
        default_id = (
            f"{self.split}-{location.rpartition(':')[2]}"
            if self.media_kind == "texts"
            else make_default_id(media, span)
        )
        return Clip(
            id=values.get("id") or default_id,
            split=self.split,
            media=media,
            span=span,
            texts=_list_texts(values),
            encoder_prompt=values.get("encoder_prompt", ""),
            decoder_prompt=values.get("decoder_prompt", ""),
            document=values.get("document", ""),
            order=order,
            signer=values.get("signer", ""),
            gloss=values.get("gloss", ""),
            language=values.get("language", ""),
            row=location,
        )

    def _parse_signal(self, values: dict[str, str]) -> tuple[str, Span, list[str]]:
        """Parse the path of a row's media file and its span, and return both with their errors."""
        # An `input_clip` is already cut, so the times of the row do not apply to it.
        if values.get("input_clip"):
            media, column, times = values["input_clip"], "input_clip", ("", "")
        else:
            media, column = values.get("signal", ""), "signal"
            times = (values.get("signal_start", ""), values.get("signal_end", ""))
        if self.media_kind == "poses_or_videos":
            media = get_pose_path(media)
        name_error = find_media_error(media, column, self.media_kind)
        errors = [] if name_error is None else [name_error]
        bounds = []
        for name, text in zip(("signal_start", "signal_end"), times, strict=True):
            try:
                bounds.append(parse_time(text, self.time_unit))
            except ValueError as error:
                bounds.append(None)  # go on: errors in both times are reported together
                errors.append(f"`{name}` {error}")
        if self.media_kind in _KINDS_WITHOUT_TIME and bounds != [None, None]:
            errors.append(f"{self.media_kind} have no times; `signal_start` and `_end` must be 0")
        unit: Literal["ms", "frames"] = "frames" if self.time_unit == "frames" else "ms"
        return media, Span(bounds[0], bounds[1], unit), errors


def _list_texts(values: dict[str, str]) -> tuple[str, ...]:
    """List the reference texts of a row: `output`, and the further ones that are not empty."""
    numbers = sorted(number for name in values if (number := parse_reference_number(name)))
    further_texts = (values[f"output_{number}"] for number in numbers)
    return (values.get("output", ""), *filter(None, further_texts))


def make_ids_unique(clips: list[Clip], rows_without_id: set[str]) -> list[Clip]:
    """Return the clips with repeated ids lengthened, except ids that come from a column `id`.

    A repeated id becomes the path of the file and the span and, if that is also repeated, gets the
    split in front of it. Two equal rows of a split keep equal ids.

    Args:
        clips: Clips of all splits.
        rows_without_id: Rows without a value in the column `id`.
    """
    # Two rounds: first the path instead of the name, then the split before the path.
    for make_longer_id in (_make_path_id, lambda clip: f"{clip.split}/{_make_path_id(clip)}"):
        counts = Counter(clip.id for clip in clips)
        clips = [
            replace(clip, id=make_longer_id(clip))
            if counts[clip.id] > 1 and clip.row in rows_without_id
            else clip
            for clip in clips
        ]
    return clips


def make_default_id(media: str, span: Span) -> str:
    """Return the default id of a clip: its file name without suffix, and `@start-end`."""
    name = remove_media_suffix(media).rpartition("/")[2]
    # The name of a folder may have a slash after it.
    return (name or PurePosixPath(media).name) + _format_span_suffix(span)


def _make_path_id(clip: Clip) -> str:
    """Return the longer id of a clip: its file path without suffix, and `@start-end`."""
    return PurePosixPath(remove_media_suffix(clip.media)).as_posix() + _format_span_suffix(
        clip.span
    )


def _format_span_suffix(span: Span) -> str:
    """Format a span as `@start-end` for an id; return an empty string for the whole file."""
    if span.is_full:
        return ""
    start, end = ("" if bound is None else format_number(bound) for bound in (span.start, span.end))
    return f"@{start or 0}-{end}"


def _find_invalid_row(clip: Clip, needs_text: bool, media_kind: MediaKind) -> InvalidRow | None:
    """Return the invalid row of a clip without a text or without frames, or None if it is usable.

    Args:
        clip: Clip of a well-formed row.
        needs_text: Whether a clip without a text is unusable.
        media_kind: Kind of signal; a text to translate must not be empty.
    """
    start, end = clip.span.start, clip.span.end
    if media_kind == "texts" and not clip.media:
        return InvalidRow(clip.row, clip.id, "empty_input", "`signal` is empty")
    if needs_text and not clip.texts[0]:
        return InvalidRow(clip.row, clip.id, "empty_text", "`output` is empty")
    if start is not None and end is not None and end <= start:
        text = (
            f"the span starts at {format_number(start)} {clip.span.unit} and ends at"
            f" {format_number(end)}"
        )
        return InvalidRow(clip.row, clip.id, "empty_span", text)
    return None
