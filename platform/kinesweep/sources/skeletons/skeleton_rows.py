"""Conversion of the rows of a skeleton table to clips: motion, frames, texts and signer.

If motions are in a pack, a row names its motion by `index`, its number in the pack, or else by the
row's own number, from 0. If motions are files, it names them by `motion`, a path below their
folder, or else by its `id`. In the `media` of a clip a motion of a pack is written `pack.npz#17`; a
column `motion` may use this form too. `reference` is the `id` of a row in any table, or else a
motion as `index` or `motion` would name it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kinesweep.config.loading import suggest_closest_word
from kinesweep.config.recipe.skeletons import (
    COLUMN_MEANINGS,
    TEXT_MEANINGS,
    SkeletonsConfig,
    is_text_meaning,
)
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.pickle_policy import format_pickle_error, is_pickle
from kinesweep.core.units import Span
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import Table, TableError, TableRow

PACK_SEPARATOR = "#"
"""Separator between the name of a pack and the number of a motion in it."""


def split_pack_path(media: str) -> tuple[str, int | None]:
    """Split `media` into the file and, if it is a pack, the number of the motion.

    A `#` in any other file name is part of the name.
    """
    file, _, number = media.rpartition(PACK_SEPARATOR)
    if file.lower().endswith(".npz") and number.isascii() and number.isdigit():
        return file, int(number)
    return media, None


@dataclass(frozen=True)
class ColumnIndices:
    """The column indices of a skeleton table.

    Attributes:
        by_meaning: Column index by meaning.
        text_indices: Column indices of the texts, in the order of the table.
    """

    by_meaning: dict[str, int]
    text_indices: tuple[int, ...]


@dataclass(frozen=True)
class SkeletonRowReader:
    """A reader of one table.

    Attributes:
        table: Rows of the file.
        split: Split that the clips belong to.
        config: Source configuration with the column names and the signer pattern.
        pack: Name of the `.npz` that the rows index, or None if each row names its file.
        needs_text: Whether a row without a text is a problem and renamed columns must exist; False
            for motions to be translated.
    """

    table: Table
    split: str
    config: SkeletonsConfig
    pack: str | None
    needs_text: bool = True

    def read(self) -> ParsedRows:
        """Read all rows of the table and all errors."""
        parsed = ParsedRows(errors=list(self.table.errors))
        if not self.table.header:
            return parsed
        columns, errors = resolve_skeleton_columns(
            self.table, self.config, self.pack, self.needs_text
        )
        parsed.errors += errors
        if errors:  # without a valid header every row would be reported
            return parsed
        orders: dict[str, int] = {}
        for row_index, row in enumerate(self.table.rows):
            self._read_row(row_index, row, columns, orders, parsed)
        return parsed

    def _read_row(
        self,
        row_index: int,
        row: TableRow,
        columns: ColumnIndices,
        orders: dict[str, int],
        parsed: ParsedRows,
    ) -> None:
        """Add the clip of a row, or its problem or errors, to `parsed`."""
        location = f"{self.table.name}:{row.line}"
        fields = [field.strip() for field in row.fields]
        values = {meaning: fields[place] for meaning, place in columns.by_meaning.items()}
        # Empty fields are skipped: a row may have fewer texts than the table has columns for.
        texts = tuple(text for place in columns.text_indices if (text := fields[place]))
        media, errors = self._parse_motion_name(values, row_index)
        span, span_errors = _parse_span(values)
        errors += span_errors
        document = values.get("document", "")
        order = orders.get(document, 0) if document else 0
        orders[document] = order + 1
        if values.get("order"):
            order = _parse_whole_number(values["order"], "order", errors) or 0
        if errors:
            parsed.errors += [(location, text) for text in errors]
            return
        clip_id = values.get("id") or _make_default_id(media, span)
        clip = Clip(
            id=clip_id,
            split=self.split,
            media=media,
            span=span,
            texts=texts,
            document=document,
            order=order,
            signer=values.get("signer") or self._extract_signer(clip_id),
            gloss=values.get("gloss", ""),
            language=values.get("language", ""),
            row=location,
            reference=values.get("reference", ""),
        )
        problem = _find_problem(clip, self.needs_text)
        if problem is None:
            parsed.clips.append(clip)
        else:
            parsed.problems.append(problem)
            # A row without a text is unusable for training, but may be the reference of another.
            parsed.reference_only_clips.append(clip)

    def _parse_motion_name(
        self, values: Mapping[str, str], row_index: int
    ) -> tuple[str, list[str]]:
        """Parse the motion that a row names, and return the errors in its name."""
        if self.pack is not None:
            errors: list[str] = []
            index = values.get("index")
            motion_index = _parse_whole_number(index, "index", errors) if index else row_index
            if "index" in values and not index:
                errors.append("`index` is empty; it must be the number of a motion, from 0")
            return f"{self.pack}{PACK_SEPARATOR}{motion_index}", errors
        column = "motion" if "motion" in values else "id"
        name = values[column]
        if not name:
            return "", [f"`{column}` is empty; it must name the file of the motion"]
        # The product is a list of one error for a pickle, and an empty list for other files.
        return name, [f"`{column}` names `{name}`, which {format_pickle_error(name)}"] * is_pickle(
            name
        )

    def _extract_signer(self, clip_id: str) -> str:
        """Extract the signer from the clip's id with `source.signer_pattern`."""
        pattern = self.config.signer_pattern
        match = re.search(pattern, clip_id) if pattern else None
        return (match[1] or "") if match else ""


def resolve_skeleton_columns(
    table: Table, config: SkeletonsConfig, pack: str | None, needs_text: bool = True
) -> tuple[ColumnIndices, list[TableError]]:
    """Locate the columns of a table, and return all errors in its header.

    Args:
        table: Table to resolve.
        config: Source configuration with renamed and ignored columns.
        pack: Name of the `.npz` that the rows index, or None if each row names its file.
        needs_text: Whether texts and all renamed columns must exist.
    """
    location, header = f"{table.name}:1", table.header
    meanings = {column: meaning for meaning, column in config.columns.items()}
    by_meaning: dict[str, int] = {}
    text_indices: list[int] = []
    errors: list[TableError] = []
    for column_index, column in enumerate(header):
        meaning = meanings.get(column, column)
        if column in config.ignore_columns:
            continue
        if column in header[:column_index] or meaning in by_meaning:
            errors.append((location, f"a second column means `{meaning}`; remove one of them"))
        elif is_text_meaning(meaning):
            text_indices.append(column_index)
        elif meaning in COLUMN_MEANINGS:
            by_meaning[meaning] = column_index
        else:
            errors.append((location, _describe_unknown_column(column, header)))
    for meaning, column in config.columns.items():
        if needs_text and column not in header:
            text = f"there is no column `{column}`, which `source.columns.{meaning}` names"
            errors.append((location, text + suggest_closest_word(column, header)))
    if needs_text and not text_indices:
        errors.append(
            (location, f"there is no column of texts: {', '.join(TEXT_MEANINGS)}, text1, ref1 …")
        )
    errors += [(location, text) for text in _find_naming_errors(by_meaning, pack)]
    return ColumnIndices(by_meaning, tuple(text_indices)), errors


def _find_naming_errors(by_meaning: Mapping[str, int], pack: str | None) -> list[str]:
    """Find the errors in the columns that name motions."""
    if pack is not None:
        text = f"`motion` names files, but all motions are in `{pack}`; use `index` instead"
        return [text] if "motion" in by_meaning else []
    if "index" in by_meaning:
        text = "`index` numbers motions of one `.npz`, but the motions are files; set"
        return [f"{text} `source.motions` to the `.npz`, or name the files in a column `motion`"]
    if "motion" not in by_meaning and "id" not in by_meaning:
        return ["there is no column `motion` or `id`, which must name the file of a motion"]
    return []


def _describe_unknown_column(column: str, header: Sequence[str]) -> str:
    """Describe an unknown column and the likely cause."""
    # A single column with commas, semicolons or bars is a table with another delimiter.
    if len(header) == 1 and any(delimiter in column for delimiter in ",;|"):
        return f"`{column[:60]}` is one column; columns are separated by tabs"
    if not column:
        return "a column has no name"
    hint = suggest_closest_word(column, [*COLUMN_MEANINGS, *TEXT_MEANINGS]) or ";"
    return (
        f"column `{column}` is unknown{hint} to ignore it, add it to `source.ignore_columns`; to"
        " give its meaning, add it to `source.columns`"
    )


def _parse_span(values: Mapping[str, str]) -> tuple[Span, list[str]]:
    """Parse the frames of a row; 0 or an empty field is the motion's start or end."""
    errors: list[str] = []
    start, end = (
        _parse_whole_number(values[name], name, errors) if values.get(name) else 0
        for name in ("start", "end")
    )
    return Span.from_frames(start or 0, end or 0), errors


def _parse_whole_number(text: str, column: str, errors: list[str]) -> int | None:
    """Parse a non-negative integer; otherwise append an error to `errors` and return None."""
    # `isdigit` alone accepts superscripts, and `int` signs, spaces and underscores.
    if text.isascii() and text.isdigit():
        return int(text)
    errors.append(f"`{column}` must be a whole number of 0 or more, but is `{text}`")
    return None


def _make_default_id(media: str, span: Span) -> str:
    """Return the id of a clip by its motion and frames."""
    file, number = split_pack_path(media)
    name = PurePosixPath(file).with_suffix("").as_posix()
    name += "" if number is None else f"{PACK_SEPARATOR}{number}"
    return name if span.is_full else f"{name}@{span.start or 0:.0f}-{_format_bound(span.end)}"


def _format_bound(value: float | None) -> str:
    """Format a bound for an id; the motion's own end is empty."""
    return "" if value is None else f"{value:.0f}"


def _find_problem(clip: Clip, needs_text: bool) -> InvalidRow | None:
    """Return the problem that makes a well-formed row unusable, or None."""
    start, end = clip.span.start, clip.span.end
    if needs_text and not clip.texts:
        return InvalidRow(clip.row, clip.id, "empty_text", "all texts are empty")
    if start is not None and end is not None and end <= start:
        text = f"the segment starts at frame {start:.0f} and ends at {end:.0f}"
        return InvalidRow(clip.row, clip.id, "empty_span", text)
    return None
