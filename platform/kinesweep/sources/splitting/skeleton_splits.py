"""Cross-validation tables for a corpus of skeletons.

The rows of the corpus are distributed anew and keep all their columns, including unused ones, so
the recipe of the corpus can read the folds with other table paths and `source.motions`. Information
that was implied by a row's position in its table becomes explicit: the number of the motion in the
pack, and the id. If each table had its motions next to it, rows name them from a common folder.
Rows that are not clips but serve as the reference of a clip are copied without their texts, so that
they do not become clips.
"""

import os
from pathlib import Path

from kinesweep.config.recipe.skeletons import is_text
from kinesweep.core.clip import Clip
from kinesweep.sources.skeletons.skeleton_rows import numbered
from kinesweep.sources.skeletons.skeletons import SkeletonsSource


class SkeletonFolds:
    """A writer of tables with rows of a corpus.

    Args:
        source: Source of the corpus, whose tables are read at construction.
    """

    def __init__(self, source: SkeletonsSource) -> None:
        self._source = source
        # Meaning → column name; the recipe may rename columns.
        self._called = {name: name for name in ("id", "index", "motion", "reference")}
        self._called |= source.config.columns
        tables = {split: source.table(split) for split in source.splits()}
        self._cells = {
            f"{table.name}:{row.line}": dict(zip(table.header, row.fields, strict=True))
            for table in tables.values()
            for row in table.rows
        }
        # The union of the columns of all tables in their order; cells that a table lacks are empty.
        columns = dict.fromkeys(column for table in tables.values() for column in table.header)
        meanings = {column: meaning for meaning, column in source.config.columns.items()}
        self._texts = [column for column in columns if is_text(meanings.get(column, column))]
        packs = {source.pack_path(split, table) for split, table in tables.items()}
        # A pack that all tables share stays where it is. With several packs, or with single files
        # beside the tables, rows must name their motions by path.
        self._pack = packs.pop() if len(packs) == 1 else None
        self._moves = self._pack is None and source.config.motions is None
        added = ["id"] if self._pack is None else ["id", "index"]
        if self._moves:
            added.append("motion")
            columns.pop(self._called["index"], None)
        self._columns = [name for key in added if (name := self._called[key]) not in columns]
        self._columns += columns

    @property
    def motions(self) -> Path:
        """Return the path that a recipe over the folds sets as `source.motions`."""
        roots = [self._source.root(split) for split in self._source.splits()]
        return self._pack or Path(os.path.commonpath(roots))

    def table(self, clips: list[Clip]) -> str:
        """Return the text of a table with a header and the rows of some clips."""
        lines = ["\t".join(self._columns)]
        silent = dict.fromkeys(self._texts, "")
        rows: list[tuple[Clip, dict[str, str]]] = [(clip, {}) for clip in clips]
        rows += [(clip, silent) for clip in self._source.unlisted(clips)]
        for clip, texts in rows:
            # Later entries win: explicit ids and motions, then the emptied texts of references.
            cells = {**self._cells[clip.row], **self._own(clip), **texts}
            lines.append("\t".join(cells.get(column, "") for column in self._columns))
        return "\n".join(lines) + "\n"

    def _own(self, clip: Clip) -> dict[str, str]:
        """Return the cells of a row that become explicit: column → text."""
        own = {self._called["id"]: clip.id}
        if self._pack is not None:
            own[self._called["index"]] = str(numbered(clip.media)[1])
        if self._moves:
            own[self._called["motion"]] = self._moved(clip.split, clip.media)
            other = self._source.reference_media(clip)
            if other is not None:
                own[self._called["reference"]] = self._moved(clip.split, other)
        return own

    def _moved(self, split: str, media: str) -> str:
        """Return the path of a motion relative to the common folder."""
        return Path(os.path.relpath(self._source.root(split) / media, self.motions)).as_posix()
