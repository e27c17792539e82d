"""Conversion of the rows of a TSV of media files to clips: paths, spans, texts and ids.

A row becomes a clip, a counted problem (well formed, but without anything to learn from) or an
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
from kinesweep.core.video_files import is_video
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_columns import resolve_columns
from kinesweep.sources.tsv.tsv_reader import Row, Table

POSE_SUFFIX = ".pose"
MediaKind = Literal["poses", "films", "videos"]
"""Kind of file that rows may name. `poses`: pose files; `films`: also videos, each of which stands
for the `.pose` file of the same name; `videos`: videos and folders of pictures only."""


@dataclass(frozen=True)
class RowReader:
    """A reader of one table.

    Attributes:
        table: Rows of the file.
        split: Split that the clips belong to.
        unit: Unit of the start and end times.
        ignored: Columns to skip without an error.
        needs_text: Whether a row without a text is a problem; False for clips to be translated.
        media: Kind of file that rows may name.
    """

    table: Table
    split: str
    unit: Literal["ms", "frames"]
    ignored: tuple[str, ...] = ()
    needs_text: bool = True
    media: MediaKind = "poses"

    def read(self) -> ParsedRows:
        """Read all rows of the table and all errors."""
        found = ParsedRows(faults=list(self.table.faults))
        if not self.table.header:
            return found
        columns, faults = resolve_columns(
            self.table.header, self.ignored, f"{self.table.name}:1", self.needs_text
        )
        found.faults += faults
        if faults:  # without a valid header every row would be reported
            return found
        orders: dict[str, int] = {}
        for row in self.table.rows:
            values = {name: row.fields[place].strip() for name, place in columns.items()}
            self._read_row(row, values, orders, found)
        return found

    def _read_row(
        self, row: Row, values: dict[str, str], orders: dict[str, int], found: ParsedRows
    ) -> None:
        """Add the clip of a row, or its problem or errors, to `found`."""
        where = f"{self.table.name}:{row.line}"
        media, span, faults = self._signal(values)
        document = values.get("document", "")
        # Counted before a row can be rejected, so that gaps in a document stay visible in `order`.
        order = orders.get(document, 0) if document else 0
        orders[document] = order + 1
        if values.get("order"):
            try:
                order = int(values["order"])
            except ValueError:
                faults.append(f"`order` must be a whole number, but is `{values['order']}`")
        if faults:
            found.faults += [(where, text) for text in faults]
            return
        clip = self._clip(values, media, span, order, where)
        problem = _problem(clip, self.needs_text)
        if problem:
            found.problems.append(problem)
        else:
            found.clips.append(clip)
            if not values.get("id"):
                found.unnamed.add(clip.row)

    def _clip(self, values: dict[str, str], media: str, span: Span, order: int, where: str) -> Clip:
        """Build the clip of a valid row."""
        return Clip(
            id=values.get("id") or _default_id(media, span),
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
            row=where,
        )

    def _signal(self, values: dict[str, str]) -> tuple[str, Span, list[str]]:
        """Return the file and span of a row, and the errors in them."""
        # An `input_clip` is already cut, so the times of the row do not apply to it.
        if values.get("input_clip"):
            media, column, times = values["input_clip"], "input_clip", ("", "")
        else:
            media, column = values.get("signal", ""), "signal"
            times = (values.get("signal_start", ""), values.get("signal_end", ""))
        if self.media == "films":
            media = pose_of(media)
        faulty = _video_faults if self.media == "videos" else _media_faults
        faults = list(faulty(media, column))
        bounds = []
        for name, text in zip(("signal_start", "signal_end"), times, strict=True):
            try:
                bounds.append(self._time(text))
            except ValueError as error:
                bounds.append(None)  # go on: errors in both times are reported together
                faults.append(f"`{name}` {error}, but is `{text}`")
        return media, Span(bounds[0], bounds[1], self.unit), faults

    def _time(self, text: str) -> float | None:
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


def make_ids_unique(clips: list[Clip], unnamed: set[str]) -> list[Clip]:
    """Make ids unique by lengthening repeated ones; ids from an `id` column are kept.

    Args:
        clips: Clips of all splits.
        unnamed: Rows without an `id` of their own.
    """
    # Two rounds: first the path instead of the name, then the split before the path.
    for longer in (_path_id, lambda clip: f"{clip.split}/{_path_id(clip)}"):
        counts = Counter(clip.id for clip in clips)
        clips = [
            replace(clip, id=longer(clip)) if counts[clip.id] > 1 and clip.row in unnamed else clip
            for clip in clips
        ]
    return clips


def _media_faults(media: str, column: str) -> Iterator[str]:
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


def _video_faults(media: str, column: str) -> Iterator[str]:
    """Yield the errors in the name of a video or a folder of pictures."""
    if not media:
        yield f"`{column}` is empty; it must name a video or a folder of pictures"
    elif PurePosixPath(media).suffix.lower() == POSE_SUFFIX:
        yield f"`{column}` names `{media}`, which holds poses; read them with `kind: pose_tsv`"


def pose_of(media: str) -> str:
    """Return the path of the `.pose` file of a video or a folder of pictures."""
    if not media or media.lower().endswith(POSE_SUFFIX):
        return media
    stem = media.removesuffix(PurePosixPath(media).suffix) if is_video(media) else media
    return stem.rstrip("/") + POSE_SUFFIX


def _default_id(media: str, span: Span) -> str:
    """Return the id of a clip by its file name and span."""
    return PurePosixPath(_stem(media)).name + _span_suffix(span)


def _path_id(clip: Clip) -> str:
    """Return the id of a clip by its file path and span."""
    return PurePosixPath(_stem(clip.media)).as_posix() + _span_suffix(clip.span)


def _stem(media: str) -> str:
    """Return a path without the suffix of a video or pose file."""
    # The name of a folder of pictures may contain a dot that is not the start of a suffix.
    tells = is_video(media) or media.lower().endswith(POSE_SUFFIX)
    return media.removesuffix(PurePosixPath(media).suffix) if tells else media


def _span_suffix(span: Span) -> str:
    """Return `@start-end` for an id; empty if the span is the whole file."""
    if span.is_full:
        return ""
    start, end = ("" if bound is None else _plain(bound) for bound in (span.start, span.end))
    return f"@{start or 0}-{end}"


def _plain(value: float) -> str:
    """Format a number without a trailing `.0`."""
    return str(int(value)) if value == int(value) else repr(value)


def _problem(clip: Clip, needs_text: bool) -> InvalidRow | None:
    """Return why a well-formed row cannot be used, or None."""
    start, end = clip.span.start, clip.span.end
    if needs_text and not clip.texts[0]:
        return InvalidRow(clip.row, clip.id, "empty_text", "`output` is empty")
    if start is not None and end is not None and end <= start:
        text = f"the span starts at {_plain(start)} {clip.span.unit} and ends at {_plain(end)}"
        return InvalidRow(clip.row, clip.id, "empty_span", text)
    return None
