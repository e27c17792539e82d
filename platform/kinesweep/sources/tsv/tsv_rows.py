"""Conversion of the rows of a TSV of media files to clips: paths, spans, texts and ids.

A row becomes a clip, a counted problem (well formed, but without a text or without frames) or an
error of the table. Times are in milliseconds or frames; 0 or an empty field stands for the start or
end of the file, each bound separately. A clip's id is its `id` column, or else the name of its file
with `@start-end` appended if the clip is a part of the file. Where file names repeat, the path
replaces the name; where paths repeat, the split is prepended.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.units import Span
from kinesweep.core.video_files import is_video_file
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_columns import resolve_columns
from kinesweep.sources.tsv.tsv_reader import Table, TableRow

POSE_SUFFIX = ".pose"
MediaKind = Literal["poses", "films", "videos"]
"""Kind of file that rows may name. `poses`: pose files; `films`: also videos, each of which stands
for the `.pose` file of the same name; `videos`: videos and folders of images only."""


@dataclass(frozen=True)
class RowReader:
    """A reader of one table.

    Attributes:
        table: Rows of the file.
        split: Split that the clips belong to.
        unit: Unit of the start and end times.
        ignored_columns: Columns to skip without an error.
        needs_text: Whether a row without a text is a problem; False for clips to be translated.
        media_kind: Kind of media file that rows may name.
    """

    table: Table
    split: str
    unit: Literal["ms", "frames"]
    ignored_columns: tuple[str, ...] = ()
    needs_text: bool = True
    media_kind: MediaKind = "poses"

    def read(self) -> ParsedRows:
        """Read all rows of the table and all errors."""
        parsed = ParsedRows(errors=list(self.table.errors))
        if not self.table.header:
            return parsed
        columns, errors = resolve_columns(
            self.table.header, self.ignored_columns, f"{self.table.name}:1", self.needs_text
        )
        parsed.errors += errors
        if errors:  # without a valid header every row would be reported
            return parsed
        next_order: dict[str, int] = {}
        for row in self.table.rows:
            values = {name: row.fields[place].strip() for name, place in columns.items()}
            self._read_row(row, values, next_order, parsed)
        return parsed

    def _read_row(
        self, row: TableRow, values: dict[str, str], next_order: dict[str, int], parsed: ParsedRows
    ) -> None:
        """Add the clip of a row, or its problem or errors, to `parsed`."""
        location = f"{self.table.name}:{row.line}"
        media, span, errors = self._parse_signal(values)
        document = values.get("document", "")
        # Counted before a row can be rejected, so that gaps in a document stay visible in `order`.
        order = next_order.get(document, 0) if document else 0
        next_order[document] = order + 1
        if values.get("order"):
            try:
                order = int(values["order"])
            except ValueError:
                errors.append(f"`order` must be a whole number, but is `{values['order']}`")
        if errors:
            parsed.errors += [(location, text) for text in errors]
            return
        clip = self._build_clip(values, media, span, order, location)
        problem = _find_problem(clip, self.needs_text)
        if problem:
            parsed.problems.append(problem)
        else:
            parsed.clips.append(clip)
            if not values.get("id"):
                parsed.rows_without_id.add(clip.row)

    def _build_clip(
        self, values: dict[str, str], media: str, span: Span, order: int, location: str
    ) -> Clip:
        """Build the clip of a valid row."""
        return Clip(
            id=values.get("id") or _make_default_id(media, span),
            split=self.split,
            media=media,
            span=span,
            texts=(values.get("output", ""),),
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
        """Parse the media file and the span of a row, and return the errors in them."""
        # An `input_clip` is already cut, so the times of the row do not apply to it.
        if values.get("input_clip"):
            media, column, times = values["input_clip"], "input_clip", ("", "")
        else:
            media, column = values.get("signal", ""), "signal"
            times = (values.get("signal_start", ""), values.get("signal_end", ""))
        if self.media_kind == "films":
            media = get_pose_path(media)
        find_errors = (
            _iter_video_name_errors if self.media_kind == "videos" else _iter_pose_name_errors
        )
        errors = list(find_errors(media, column))
        bounds = []
        for name, text in zip(("signal_start", "signal_end"), times, strict=True):
            try:
                bounds.append(self._parse_time(text))
            except ValueError as error:
                bounds.append(None)  # go on: errors in both times are reported together
                errors.append(f"`{name}` {error}, but is `{text}`")
        return media, Span(bounds[0], bounds[1], self.unit), errors

    def _parse_time(self, text: str) -> float | None:
        """Parse a bound; None stands for the start or end of the file.

        Raises:
            ValueError: If the text is not a valid time; the message says what is allowed.
        """
        try:
            value = float(text or 0)
        except ValueError:
            raise ValueError(f"must be a number of {self.unit}") from None
        if not 0 <= value < math.inf:  # also true for NaN
            raise ValueError("must be 0 or more")
        if self.unit == "frames" and value != int(value):
            raise ValueError("must be a whole number of frames")
        return value or None  # 0 stands for the start or end of the file


def make_ids_unique(clips: list[Clip], rows_without_id: set[str]) -> list[Clip]:
    """Make ids unique by lengthening repeated ones; ids from an `id` column are kept.

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


def _iter_pose_name_errors(media: str, column: str) -> Iterator[str]:
    """Yield the errors in the name of a pose file."""
    suffix = PurePosixPath(media).suffix
    if not media:
        yield f"`{column}` is empty; it must name a `{POSE_SUFFIX}` file"
    elif suffix.lower() != POSE_SUFFIX:
        yield (
            f"`{column}` names `{media}`, which is not a `{POSE_SUFFIX}` file; if it is a video,"
            " set `source.videos` to the folder of the videos to have its poses estimated first"
            " (or run `kinesweep estimate-poses VIDEOS --out POSES` and name the `.pose` file here)"
        )


def _iter_video_name_errors(media: str, column: str) -> Iterator[str]:
    """Yield the errors in the name of a video or a folder of images."""
    if not media:
        yield f"`{column}` is empty; it must name a video or a folder of pictures"
    elif PurePosixPath(media).suffix.lower() == POSE_SUFFIX:
        yield f"`{column}` names `{media}`, which holds poses; read them with `kind: pose_tsv`"


def get_pose_path(media: str) -> str:
    """Return the path of the `.pose` file of a video or a folder of images."""
    if not media or media.lower().endswith(POSE_SUFFIX):
        return media
    stem = media.removesuffix(PurePosixPath(media).suffix) if is_video_file(media) else media
    return stem.rstrip("/") + POSE_SUFFIX


def _make_default_id(media: str, span: Span) -> str:
    """Return the id of a clip by its file name and span."""
    return PurePosixPath(_remove_media_suffix(media)).name + _format_span_suffix(span)


def _make_path_id(clip: Clip) -> str:
    """Return the id of a clip by its file path and span."""
    return PurePosixPath(_remove_media_suffix(clip.media)).as_posix() + _format_span_suffix(
        clip.span
    )


def _remove_media_suffix(media: str) -> str:
    """Return a path without the suffix of a video or pose file."""
    # The name of a folder of images may contain a dot that is not the start of a suffix.
    has_known_suffix = is_video_file(media) or media.lower().endswith(POSE_SUFFIX)
    return media.removesuffix(PurePosixPath(media).suffix) if has_known_suffix else media


def _format_span_suffix(span: Span) -> str:
    """Return `@start-end` for an id; empty if the span is the whole file."""
    if span.is_full:
        return ""
    start, end = (
        "" if bound is None else _format_number(bound) for bound in (span.start, span.end)
    )
    return f"@{start or 0}-{end}"


def _format_number(value: float) -> str:
    """Format a number without a trailing `.0`."""
    return str(int(value)) if value == int(value) else repr(value)


def _find_problem(clip: Clip, needs_text: bool) -> InvalidRow | None:
    """Return the problem that makes a well-formed row unusable, or None."""
    start, end = clip.span.start, clip.span.end
    if needs_text and not clip.texts[0]:
        return InvalidRow(clip.row, clip.id, "empty_text", "`output` is empty")
    if start is not None and end is not None and end <= start:
        text = (
            f"the span starts at {_format_number(start)} {clip.span.unit} and ends at"
            f" {_format_number(end)}"
        )
        return InvalidRow(clip.row, clip.id, "empty_span", text)
    return None
