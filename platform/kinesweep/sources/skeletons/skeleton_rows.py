"""Conversion of the rows of a skeleton table to clips: motion, frames, texts and signer.

If motions are in a pack, a row names its motion by `index`, its number in the pack, or else by the
row's own number, from 0. If motions are files, it names them by `motion`, a path below their
folder, or else by its `id`. In the `media` of a clip a motion of a pack is written `pack.npz#17`; a
column `motion` may use this form too. The reference motion, in the column `reference`, is the `id`
of a row in any table, or else a motion as `index` or `motion` would name it; `reference_start` and
`reference_end` select a part of that motion. Columns `augmented…` have texts that only training
reads.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from kinesweep.config.recipe.skeletons import (
    SkeletonsConfig,
)
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.pickle_policy import format_pickle_error, is_pickle
from kinesweep.core.tables.number_format import parse_whole_number
from kinesweep.core.units import Span
from kinesweep.sources.skeletons.motion_file import MOTION_SUFFIXES
from kinesweep.sources.skeletons.skeleton_columns import (
    ColumnIndices,
    resolve_skeleton_columns,
)
from kinesweep.sources.tsv.media_names import get_pose_path
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import Table, TableRow

PACK_SEPARATOR = "#"
"""Separator between the name of a pack and the index of a motion in it."""


def split_pack_path(media: str) -> tuple[str, int | None]:
    """Split the `media` of a clip into the file and the index of its motion in a pack.

    The index is None if the file contains one motion only. A `#` in any other file name is part of
    the name.
    """
    file, _, motion_index = media.rpartition(PACK_SEPARATOR)
    if file.lower().endswith(".npz") and motion_index.isascii() and motion_index.isdigit():
        return file, int(motion_index)
    return media, None


@dataclass(frozen=True)
class SkeletonRowReader:
    """A reader that converts the rows of one skeleton table to clips.

    Attributes:
        table: Table to convert.
        split: Split that the clips belong to.
        config: Source configuration with the column names and the signer pattern.
        pack_name: Name of the `.npz` that the rows index, or None if each row names its file.
        needs_text: Whether a row without a text is invalid and renamed columns must exist; False
            for motions to be translated.
    """

    table: Table
    split: str
    config: SkeletonsConfig
    pack_name: str | None
    needs_text: bool = True

    def read(self) -> ParsedRows:
        """Convert all rows of the table, and return its clips, invalid rows and errors."""
        parsed = ParsedRows(errors=list(self.table.errors))
        if not self.table.header:
            return parsed
        columns, errors = resolve_skeleton_columns(
            self.table, self.config, self.pack_name, self.needs_text
        )
        parsed.errors += errors
        if errors:  # without a valid header every row would be reported
            return parsed
        next_order: dict[str, int] = {}
        for row_index, row in enumerate(self.table.rows):
            self._read_row(row_index, row, columns, next_order, parsed)
        return parsed

    def _read_row(
        self,
        row_index: int,
        row: TableRow,
        columns: ColumnIndices,
        next_order: dict[str, int],
        parsed: ParsedRows,
    ) -> None:
        """Add the clip of a row to `parsed`, or the row as an invalid row, or its errors.

        Args:
            row_index: Index of the row in the table, from 0.
            row: Row of the table.
            columns: Column indices of the table.
            next_order: Number of rows read so far by document, which this method updates.
            parsed: Result that this method extends.
        """
        location = f"{self.table.name}:{row.line_number}"
        fields = [field.strip() for field in row.fields]
        values = {meaning: fields[index] for meaning, index in columns.by_meaning.items()}
        media, errors = self._parse_motion_name(values, row_index)
        span, span_errors = _parse_span(values)
        reference_span, reference_errors = _parse_reference_span(values)
        errors += [*span_errors, *reference_errors]
        document = values.get("document", "")
        order = next_order.get(document, 0) if document else 0
        next_order[document] = order + 1
        if values.get("order"):
            order = _parse_whole_number(values["order"], "order", errors) or 0
        if errors:
            parsed.errors += [(location, text) for text in errors]
            return
        # Empty fields are skipped: a row may have fewer texts than the table has columns for.
        texts = tuple(text for index in columns.text_indices if (text := fields[index]))
        clip = replace(
            self._build_clip(values, media, span, location),
            texts=texts,
            order=order,
            reference_span=reference_span,
            augmented_texts=self._get_augmented_texts(fields, columns),
        )
        invalid_row = _find_invalid_row(clip, self.needs_text)
        if invalid_row is None:
            parsed.clips.append(clip)
        else:
            parsed.invalid_rows.append(invalid_row)
            # A row without a text is unusable for training, but may be another's reference motion.
            parsed.reference_motion_clips.append(clip)

    def _get_augmented_texts(
        self, fields: Sequence[str], columns: ColumnIndices
    ) -> tuple[str, ...]:
        """Return the augmented texts of a row, which only clips of the training split have.

        Left out of other splits, they can be neither references nor targets there.
        """
        if self.split != "train":
            return ()
        return tuple(text for index in columns.augmented_indices if (text := fields[index]))

    def _build_clip(self, values: Mapping[str, str], media: str, span: Span, location: str) -> Clip:
        """Build the clip of a row, still without texts and order, from its fields by meaning."""
        clip_id = values.get("id") or _make_default_id(media, span)
        return Clip(
            id=clip_id,
            split=self.split,
            media=media,
            span=span,
            texts=(),
            document=values.get("document", ""),
            signer=values.get("signer") or self._extract_signer(clip_id),
            gloss=values.get("gloss", ""),
            language=values.get("language", ""),
            row=location,
            reference=values.get("reference", ""),
        )

    def _parse_motion_name(
        self, values: Mapping[str, str], row_index: int
    ) -> tuple[str, list[str]]:
        """Return the motion that a row names, in the form of `Clip.media`, and the errors in it.

        Args:
            values: Field of the row by the meaning of its column.
            row_index: Index of the row in the table, which is the default index in a pack.
        """
        if self.pack_name is not None:
            errors: list[str] = []
            index = values.get("index")
            motion_index = _parse_whole_number(index, "index", errors) if index else row_index
            if "index" in values and not index:
                errors.append("`index` is empty; it must be the number of a motion, from 0")
            return f"{self.pack_name}{PACK_SEPARATOR}{motion_index}", errors
        column = "motion" if "motion" in values else "id"
        name = values[column]
        if not name:
            return "", [f"`{column}` is empty; it must name the file of the motion"]
        if is_pickle(name):
            return name, [f"`{column}` names `{name}`, which {format_pickle_error(name)}"]
        # The joints of a video lie in the folder of motions as the video lies in its own.
        return name if self.config.videos is None else get_pose_path(name), []

    def _extract_signer(self, clip_id: str) -> str:
        """Return the part of a clip's id that `source.signer_pattern` captures, or ""."""
        pattern = self.config.signer_pattern
        match = re.search(pattern, clip_id) if pattern else None
        return (match[1] or "") if match else ""


def _parse_span(values: Mapping[str, str], prefix: str = "") -> tuple[Span, list[str]]:
    """Parse the span of frames of a row, and return it with the errors in its bounds.

    0, an empty field or a missing column stands for the start or end of the motion.

    Args:
        values: Fields of the row, with the bounds as `start` and `end`.
        prefix: Beginning of the names of the columns in errors.
    """
    errors: list[str] = []
    start, end = (
        _parse_whole_number(values[name], prefix + name, errors) if values.get(name) else 0
        for name in ("start", "end")
    )
    return Span.from_frames(start or 0, end or 0), errors


def _parse_reference_span(values: Mapping[str, str]) -> tuple[Span, list[str]]:
    """Parse the span of a row's reference motion, and return it with the errors in it.

    Bounds are those of `_parse_span`; without any the span is full.
    """
    bounds = {name: values.get(f"reference_{name}", "") for name in ("start", "end")}
    span, errors = _parse_span(bounds, "reference_")
    if span.is_full:
        return Span(), errors
    if not values.get("reference"):
        return Span(), [*errors, "`reference_start` and `reference_end` need a `reference`"]
    if span.end is not None and span.end <= (span.start or 0):
        text = (
            f"the segment of the reference starts at {span.start or 0:.0f}, ends at {span.end:.0f}"
        )
        return Span(), [*errors, text]
    return span, errors


def _parse_whole_number(text: str, column: str, errors: list[str]) -> int | None:
    """Parse a whole number of 0 or more; otherwise append an error to `errors` and return None.

    Args:
        text: Content of the field.
        column: Name of the column, for the error.
        errors: Error texts, to which at most one is appended.
    """
    try:
        value, hint = parse_whole_number(text), ""
    except ValueError as error:
        value, hint = -1, str(error)
    if value >= 0:
        return value
    errors.append(f"`{column}` must be a whole number of 0 or more, but is `{text}`{hint}")
    return None


def _make_default_id(media: str, span: Span) -> str:
    """Return the default id of a clip: its motion without suffix, and `@start-end` for a span."""
    file, motion_index = split_pack_path(media)
    # A dot may also be a part of the name.
    path = PurePosixPath(file)
    has_suffix = path.suffix.lower() in MOTION_SUFFIXES
    name = (path.with_suffix("") if has_suffix else path).as_posix()
    name += "" if motion_index is None else f"{PACK_SEPARATOR}{motion_index}"
    return name if span.is_full else f"{name}@{span.start or 0:.0f}-{_format_end(span.end)}"


def _format_end(end: float | None) -> str:
    """Format the end of a span as a whole number for an id; return an empty text for None."""
    return "" if end is None else f"{end:.0f}"


def _find_invalid_row(clip: Clip, needs_text: bool) -> InvalidRow | None:
    """Return the invalid row of a clip without texts or without frames, or None if it is usable.

    Args:
        clip: Clip of a well-formed row.
        needs_text: Whether a clip without a text is unusable.
    """
    start, end = clip.span.start, clip.span.end
    if needs_text and not clip.texts:
        return InvalidRow(clip.row, clip.id, "empty_text", "all texts are empty")
    if start is not None and end is not None and end <= start:
        text = f"the segment starts at frame {start:.0f} and ends at {end:.0f}"
        return InvalidRow(clip.row, clip.id, "empty_span", text)
    return None
