"""Rows of a table of skeletons as clips: which motion, which frames, which texts, whose.

A row names its motion by `index`, its number in a pack (else the row's own number, from 0), or
where motions are files by `motion`, a path below their folder (else by its `id`). In a clip's
`media` a motion of a pack is `pack.npz#17`, which a column `motion` may say too. `reference` is
the `id` of a row of any table, or else a motion as `index` or `motion` would name it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.core.config import near_miss
from kinesweep.core.pickles import is_pickle, refusal
from kinesweep.core.recipe.skeletons import MEANINGS, TEXTS, SkeletonsConfig, is_text
from kinesweep.core.units import Span
from kinesweep.sources.rows import Rows
from kinesweep.sources.table import Fault, Row, Table

NUMBER = "#"
"""Between a pack and the number of a motion in it."""


def numbered(media: str) -> tuple[str, int | None]:
    """A motion's file, and its number where that is a pack; names of files may hold a `#` too."""
    file, _, number = media.rpartition(NUMBER)
    if file.lower().endswith(".npz") and number.isascii() and number.isdigit():
        return file, int(number)
    return media, None


@dataclass(frozen=True)
class Columns:
    """Where a table's columns stand.

    Attributes:
        places: meaning → place.
        texts: places of the texts, in the table's order.
    """

    places: dict[str, int]
    texts: tuple[int, ...]


@dataclass(frozen=True)
class SkeletonRows:
    """Reads one table.

    Attributes:
        table: the file's rows.
        split: which split they make.
        config: what columns are called, and who signs.
        pack: name of the one `.npz` that rows number; None: each names its file.
        needs_text: whether a row without a text is a problem, and columns that the recipe renames
            must be there; not where motions are translated.
    """

    table: Table
    split: str
    config: SkeletonsConfig
    pack: str | None
    needs_text: bool = True

    def read(self) -> Rows:
        """Every row of the table, and every fault."""
        found = Rows(faults=list(self.table.faults))
        if not self.table.header:
            return found
        columns, faults = resolve(self.table, self.config, self.pack, self.needs_text)
        found.faults += faults
        if faults:
            return found
        orders: dict[str, int] = {}
        for number, row in enumerate(self.table.rows):
            self._read_row(number, row, columns, orders, found)
        return found

    def _read_row(
        self, number: int, row: Row, columns: Columns, orders: dict[str, int], found: Rows
    ) -> None:
        where = f"{self.table.name}:{row.line}"
        fields = [field.strip() for field in row.fields]
        values = {meaning: fields[place] for meaning, place in columns.places.items()}
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
            found.apart.append(clip)

    def _media(self, values: Mapping[str, str], number: int) -> tuple[str, list[str]]:
        """The motion that a row names."""
        if self.pack is not None:
            faults: list[str] = []
            index = values.get("index")
            chosen = _whole(index, "index", faults) if index else number
            if "index" in values and not index:
                faults.append("`index` is empty; it is the number of a motion, from 0")
            return f"{self.pack}{NUMBER}{chosen}", faults
        column = "motion" if "motion" in values else "id"
        name = values[column]
        if not name:
            return "", [f"`{column}` is empty; it names the file of the motion"]
        return name, [f"`{column}` names `{name}`, which {refusal(name)}"] * is_pickle(name)

    def _signer(self, clip_id: str) -> str:
        """Who moves, by the clip's id."""
        pattern = self.config.signer_pattern
        match = re.search(pattern, clip_id) if pattern else None
        return (match[1] or "") if match else ""


def resolve(
    table: Table, config: SkeletonsConfig, pack: str | None, needs_text: bool = True
) -> tuple[Columns, list[Fault]]:
    """Where a table's columns stand, and everything that is wrong with its header."""
    where, header = f"{table.name}:1", table.header
    meanings = {column: meaning for meaning, column in config.columns.items()}
    places: dict[str, int] = {}
    texts: list[int] = []
    faults: list[Fault] = []
    for place, column in enumerate(header):
        meaning = meanings.get(column, column)
        if column in config.ignore_columns:
            continue
        if column in header[:place] or meaning in places:
            faults.append((where, f"a second column means `{meaning}`; drop one"))
        elif is_text(meaning):
            texts.append(place)
        elif meaning in MEANINGS:
            places[meaning] = place
        else:
            faults.append((where, _unknown(column, header)))
    for meaning, column in config.columns.items():
        if needs_text and column not in header:
            text = f"there is no column `{column}`, which `source.columns.{meaning}` names"
            faults.append((where, text + near_miss(column, header)))
    if needs_text and not texts:
        faults.append((where, f"there is no column of texts: {', '.join(TEXTS)}, text1, ref1 …"))
    faults += [(where, text) for text in _naming_faults(places, pack)]
    return Columns(places, tuple(texts)), faults


def _naming_faults(places: Mapping[str, int], pack: str | None) -> list[str]:
    """What is wrong with the columns that name motions."""
    if pack is not None:
        text = f"`motion` names files, but the motions are one `{pack}`; number them by `index`"
        return [text] if "motion" in places else []
    if "index" in places:
        text = "`index` numbers motions of one `.npz`, but they are files; name it in"
        return [f"{text} `source.motions`, or the files by `motion`"]
    if "motion" not in places and "id" not in places:
        return ["there is no column `motion` or `id`, which names a motion's file"]
    return []


def _unknown(column: str, header: Sequence[str]) -> str:
    if len(header) == 1 and any(mark in column for mark in ",;|"):
        return f"`{column[:60]}` is one column; columns are separated by tabs"
    if not column:
        return "a column has no name"
    hint = near_miss(column, [*MEANINGS, *TEXTS]) or ";"
    return (
        f"column `{column}` is unknown{hint} to leave it out: `source.ignore_columns`; to say what"
        " it means: `source.columns`"
    )


def _span(values: Mapping[str, str]) -> tuple[Span, list[str]]:
    """The frames of a row; 0 or nothing is the motion's start or end."""
    faults: list[str] = []
    start, end = (
        _whole(values[name], name, faults) if values.get(name) else 0 for name in ("start", "end")
    )
    return Span.from_frames(start or 0, end or 0), faults


def _whole(text: str, column: str, faults: list[str]) -> int | None:
    """A whole number of 0 or more; None, and a fault, where it is none."""
    if text.isascii() and text.isdigit():
        return int(text)
    faults.append(f"`{column}` must be a whole number of 0 or more, but is `{text}`")
    return None


def _default_id(media: str, span: Span) -> str:
    """What the motion is called, and which frames of it."""
    file, number = numbered(media)
    name = PurePosixPath(file).with_suffix("").as_posix()
    name += "" if number is None else f"{NUMBER}{number}"
    return name if span.whole else f"{name}@{span.start or 0:.0f}-{_bound(span.end)}"


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _problem(clip: Clip, needs_text: bool) -> RowProblem | None:
    start, end = clip.span.start, clip.span.end
    if needs_text and not clip.texts:
        return RowProblem(clip.row, clip.id, "empty_text", "all texts are empty")
    if start is not None and end is not None and end <= start:
        text = f"the segment starts at frame {start:.0f} and ends at {end:.0f}"
        return RowProblem(clip.row, clip.id, "empty_span", text)
    return None
