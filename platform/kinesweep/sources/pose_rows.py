"""Rows of a pose table as clips: paths, spans, texts, ids.

A row is a clip, a countable problem (it is well formed, but nothing can be learnt from it), or a
fault of the table. Times are milliseconds or frames; 0 or nothing is the file's start or end, each
bound on its own. A clip's id is its `id` column, else its file's name, with `@start-end` where the
file is cut; where names repeat it is the file's path, and where paths repeat, the split before it.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.core.media import is_video
from kinesweep.core.units import Span
from kinesweep.sources.columns import resolve
from kinesweep.sources.rows import Rows
from kinesweep.sources.table import Row, Table

POSE_SUFFIX = ".pose"
MediaKind = Literal["poses", "films", "videos"]
"""What rows may name: pose files; also videos, whose poses lie where theirs would under their
names; videos and folders of pictures alone."""


@dataclass(frozen=True)
class RowReader:
    """Reads one table.

    Attributes:
        table: the file's rows.
        split: which split they make.
        unit: of the times.
        ignored: columns that may be there unused.
        needs_text: whether a row without a text is a problem; it is none where it is translated.
        media: what rows may name.
    """

    table: Table
    split: str
    unit: Literal["ms", "frames"]
    ignored: tuple[str, ...] = ()
    needs_text: bool = True
    media: MediaKind = "poses"

    def read(self) -> Rows:
        """Every row of the table, and every fault."""
        found = Rows(faults=list(self.table.faults))
        if not self.table.header:
            return found
        columns, faults = resolve(
            self.table.header, self.ignored, f"{self.table.name}:1", self.needs_text
        )
        found.faults += faults
        if faults:
            return found
        orders: dict[str, int] = {}
        for row in self.table.rows:
            values = {name: row.fields[place].strip() for name, place in columns.items()}
            self._read_row(row, values, orders, found)
        return found

    def _read_row(
        self, row: Row, values: dict[str, str], orders: dict[str, int], found: Rows
    ) -> None:
        where = f"{self.table.name}:{row.line}"
        media, span, faults = self._signal(values)
        document = values.get("document", "")
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
        """File and span of a row; `input_clip`, where it is given, is used whole."""
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
                bounds.append(None)
                faults.append(f"`{name}` {error}, but is `{text}`")
        return media, Span(bounds[0], bounds[1], self.unit), faults

    def _time(self, text: str) -> float | None:
        """A bound, None for the file's own.

        Raises:
            ValueError: what it must be.
        """
        try:
            value = float(text or 0)
        except ValueError:
            raise ValueError(f"must be a number of {self.unit}") from None
        if not 0 <= value < math.inf:
            raise ValueError("must be 0 or more")
        if self.unit == "frames" and value != int(value):
            raise ValueError("must be a whole number of frames")
        return value or None


def told_apart(clips: list[Clip], unnamed: set[str]) -> list[Clip]:
    """The same clips, ids longer where they repeat; ids that rows gave themselves stay.

    Args:
        clips: of all splits.
        unnamed: rows whose ids are ours to choose.
    """
    for longer in (_path_id, lambda clip: f"{clip.split}/{_path_id(clip)}"):
        counts = Counter(clip.id for clip in clips)
        clips = [
            replace(clip, id=longer(clip)) if counts[clip.id] > 1 and clip.row in unnamed else clip
            for clip in clips
        ]
    return clips


def _media_faults(media: str, column: str) -> Iterator[str]:
    suffix = PurePosixPath(media).suffix
    if not media:
        yield f"`{column}` is empty; it must name a `{POSE_SUFFIX}` file"
    elif suffix.lower() != POSE_SUFFIX:
        yield (
            f"`{column}` names `{media}`, which is not a `{POSE_SUFFIX}` file; where it is a video,"
            " say with `source.videos` where videos lie, and its poses are estimated first (or"
            " call `kinesweep estimate VIDEOS --out POSES` and name the `.pose` file here)"
        )


def _video_faults(media: str, column: str) -> Iterator[str]:
    if not media:
        yield f"`{column}` is empty; it must name a video, or a folder of pictures"
    elif PurePosixPath(media).suffix.lower() == POSE_SUFFIX:
        yield f"`{column}` names `{media}`, which holds poses; read them with `kind: pose_tsv`"


def pose_of(media: str) -> str:
    """Where the poses of a video, or of a folder of pictures, are written."""
    if not media or media.lower().endswith(POSE_SUFFIX):
        return media
    stem = media.removesuffix(PurePosixPath(media).suffix) if is_video(media) else media
    return stem.rstrip("/") + POSE_SUFFIX


def _default_id(media: str, span: Span) -> str:
    return PurePosixPath(_bare(media)).name + _cut(span)


def _path_id(clip: Clip) -> str:
    return PurePosixPath(_bare(clip.media)).as_posix() + _cut(clip.span)


def _bare(media: str) -> str:
    """A path without what tells its format; a folder of pictures has nothing of the kind."""
    tells = is_video(media) or media.lower().endswith(POSE_SUFFIX)
    return media.removesuffix(PurePosixPath(media).suffix) if tells else media


def _cut(span: Span) -> str:
    if span.whole:
        return ""
    start, end = ("" if bound is None else _plain(bound) for bound in (span.start, span.end))
    return f"@{start or 0}-{end}"


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _problem(clip: Clip, needs_text: bool) -> RowProblem | None:
    start, end = clip.span.start, clip.span.end
    if needs_text and not clip.texts[0]:
        return RowProblem(clip.row, clip.id, "empty_text", "`output` is empty")
    if start is not None and end is not None and end <= start:
        text = f"the span starts at {_plain(start)} {clip.span.unit} and ends at {_plain(end)}"
        return RowProblem(clip.row, clip.id, "empty_span", text)
    return None
