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

from kinesweep.config.loading import did_you_mean
from kinesweep.config.recipe.skeletons import MEANINGS, TEXTS, SkeletonsConfig, is_text
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.pickle_policy import is_pickle, refuse_pickle_message
from kinesweep.core.units import Span
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import Row, Table, TableError

NUMBER = "#"
"""Separator between the name of a pack and the number of a motion in it."""


def numbered(media: str) -> tuple[str, int | None]:
    """Split `media` into the file and, if it is a pack, the number of the motion.

    A `#` in any other file name is part of the name.
    """
    file, _, number = media.rpartition(NUMBER)
    if file.lower().endswith(".npz") and number.isascii() and number.isdigit():
        return file, int(number)
    return media, None


@dataclass(frozen=True)
class Columns:
    """The positions of a table's columns.

    Attributes:
        places: Column index by meaning.
        texts: Column indices of the texts, in the order of the table.
    """

    places: dict[str, int]
    texts: tuple[int, ...]


@dataclass(frozen=True)
class SkeletonRows:
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
        found = ParsedRows(faults=list(self.table.faults))
        if not self.table.header:
            return found
        columns, faults = resolve(self.table, self.config, self.pack, self.needs_text)
        found.faults += faults
        if faults:  # without a valid header every row would be reported
            return found
        orders: dict[str, int] = {}
        for number, row in enumerate(self.table.rows):
            self._read_row(number, row, columns, orders, found)
        return found

    def _read_row(
        self, number: int, row: Row, columns: Columns, orders: dict[str, int], found: ParsedRows
    ) -> None:
        """Add the clip of a row, or its problem or errors, to `found`."""
        where = f"{self.table.name}:{row.line}"
        fields = [field.strip() for field in row.fields]
        values = {meaning: fields[place] for meaning, place in columns.places.items()}
        # Empty fields are skipped: a row may have fewer texts than the table has columns for.
        texts = tuple(text for place in columns.texts if (text := fields[place]))
        media, faults = self._media(values, number)
        span, more = _span(values)
        faults += more
        document = values.get("document", "")
        order = orders.get(document, 0) if document else 0
        orders[document] = order + 1
        if values.get("order"):
            order = _whole(values["order"], "order", faults) or 0
        if faults:
            found.faults += [(where, text) for text in faults]
            return
        clip_id = values.get("id") or _default_id(media, span)
        clip = Clip(
            id=clip_id,
            split=self.split,
            media=media,
            span=span,
            texts=texts,
            document=document,
            order=order,
            signer=values.get("signer") or self._signer(clip_id),
            gloss=values.get("gloss", ""),
            language=values.get("language", ""),
            row=where,
            reference=values.get("reference", ""),
        )
        problem = _problem(clip, self.needs_text)
        if problem is None:
            found.clips.append(clip)
        else:
            found.problems.append(problem)
            # A row without a text cannot be learnt from, but it can be the reference of another.
            found.apart.append(clip)

    def _media(self, values: Mapping[str, str], number: int) -> tuple[str, list[str]]:
        """Return the motion that a row names, and the errors in its name."""
        if self.pack is not None:
            faults: list[str] = []
            index = values.get("index")
            chosen = _whole(index, "index", faults) if index else number
            if "index" in values and not index:
                faults.append("`index` is empty; it must be the number of a motion, from 0")
            return f"{self.pack}{NUMBER}{chosen}", faults
        column = "motion" if "motion" in values else "id"
        name = values[column]
        if not name:
            return "", [f"`{column}` is empty; it must name the file of the motion"]
        # The product is a list of one error for a pickle, and an empty list for other files.
        return name, [
            f"`{column}` names `{name}`, which {refuse_pickle_message(name)}"
        ] * is_pickle(name)

    def _signer(self, clip_id: str) -> str:
        """Extract the signer from the clip's id with `source.signer_pattern`."""
        pattern = self.config.signer_pattern
        match = re.search(pattern, clip_id) if pattern else None
        return (match[1] or "") if match else ""


def resolve(
    table: Table, config: SkeletonsConfig, pack: str | None, needs_text: bool = True
) -> tuple[Columns, list[TableError]]:
    """Locate the columns of a table, and return all errors in its header.

    Args:
        table: Table to resolve.
        config: Source configuration with renamed and ignored columns.
        pack: Name of the `.npz` that the rows index, or None if each row names its file.
        needs_text: Whether texts and all renamed columns must exist.
    """
    where, header = f"{table.name}:1", table.header
    meanings = {column: meaning for meaning, column in config.columns.items()}
    places: dict[str, int] = {}
    texts: list[int] = []
    faults: list[TableError] = []
    for place, column in enumerate(header):
        meaning = meanings.get(column, column)
        if column in config.ignore_columns:
            continue
        if column in header[:place] or meaning in places:
            faults.append((where, f"a second column means `{meaning}`; remove one of them"))
        elif is_text(meaning):
            texts.append(place)
        elif meaning in MEANINGS:
            places[meaning] = place
        else:
            faults.append((where, _unknown(column, header)))
    for meaning, column in config.columns.items():
        if needs_text and column not in header:
            text = f"there is no column `{column}`, which `source.columns.{meaning}` names"
            faults.append((where, text + did_you_mean(column, header)))
    if needs_text and not texts:
        faults.append((where, f"there is no column of texts: {', '.join(TEXTS)}, text1, ref1 …"))
    faults += [(where, text) for text in _naming_faults(places, pack)]
    return Columns(places, tuple(texts)), faults


def _naming_faults(places: Mapping[str, int], pack: str | None) -> list[str]:
    """Return the errors in the columns that name motions."""
    if pack is not None:
        text = f"`motion` names files, but all motions are in `{pack}`; use `index` instead"
        return [text] if "motion" in places else []
    if "index" in places:
        text = "`index` numbers motions of one `.npz`, but the motions are files; set"
        return [f"{text} `source.motions` to the `.npz`, or name the files in a column `motion`"]
    if "motion" not in places and "id" not in places:
        return ["there is no column `motion` or `id`, which must name the file of a motion"]
    return []


def _unknown(column: str, header: Sequence[str]) -> str:
    """Describe an unknown column and the likely cause."""
    # A single column with commas, semicolons or bars is a table with another delimiter.
    if len(header) == 1 and any(mark in column for mark in ",;|"):
        return f"`{column[:60]}` is one column; columns are separated by tabs"
    if not column:
        return "a column has no name"
    hint = did_you_mean(column, [*MEANINGS, *TEXTS]) or ";"
    return (
        f"column `{column}` is unknown{hint} to ignore it, add it to `source.ignore_columns`; to"
        " give its meaning, add it to `source.columns`"
    )


def _span(values: Mapping[str, str]) -> tuple[Span, list[str]]:
    """Parse the frames of a row; 0 or an empty field is the motion's start or end."""
    faults: list[str] = []
    start, end = (
        _whole(values[name], name, faults) if values.get(name) else 0 for name in ("start", "end")
    )
    return Span.from_frames(start or 0, end or 0), faults


def _whole(text: str, column: str, faults: list[str]) -> int | None:
    """Parse a non-negative integer; otherwise append an error to `faults` and return None."""
    # `isdigit` alone accepts superscripts, and `int` signs, spaces and underscores.
    if text.isascii() and text.isdigit():
        return int(text)
    faults.append(f"`{column}` must be a whole number of 0 or more, but is `{text}`")
    return None


def _default_id(media: str, span: Span) -> str:
    """Return the id of a clip by its motion and frames."""
    file, number = numbered(media)
    name = PurePosixPath(file).with_suffix("").as_posix()
    name += "" if number is None else f"{NUMBER}{number}"
    return name if span.is_full else f"{name}@{span.start or 0:.0f}-{_bound(span.end)}"


def _bound(value: float | None) -> str:
    """Format a bound for an id; the motion's own end is empty."""
    return "" if value is None else f"{value:.0f}"


def _problem(clip: Clip, needs_text: bool) -> InvalidRow | None:
    """Return why a well-formed row cannot be used, or None."""
    start, end = clip.span.start, clip.span.end
    if needs_text and not clip.texts:
        return InvalidRow(clip.row, clip.id, "empty_text", "all texts are empty")
    if start is not None and end is not None and end <= start:
        text = f"the segment starts at frame {start:.0f} and ends at {end:.0f}"
        return InvalidRow(clip.row, clip.id, "empty_span", text)
    return None
