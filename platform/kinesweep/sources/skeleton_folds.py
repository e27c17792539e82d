"""Tables of folds of a corpus of skeletons: its own rows, dealt out anew.

Rows keep their columns, those that are not used too, so the recipe of the corpus reads the folds
with other tables alone. What a row's place in its table said, it says itself now: its number in the
pack, and its id. Where each table had motions beside it, rows name them from a common folder. Rows
that are no clips, but that a clip is compared with, go along without texts, so they stay none.
"""

import os
from pathlib import Path

from kinesweep.core.clip import Clip
from kinesweep.core.recipe.skeletons import is_text
from kinesweep.sources.skeleton_rows import numbered
from kinesweep.sources.skeletons import SkeletonsSource


class SkeletonFolds:
    """Writes rows of a corpus.

    Args:
        source: the corpus; its tables are read.
    """

    def __init__(self, source: SkeletonsSource) -> None:
        self._source = source
        self._called = {name: name for name in ("id", "index", "motion", "reference")}
        self._called |= source.config.columns
        tables = {split: source.table(split) for split in source.splits()}
        self._cells = {
            f"{table.name}:{row.line}": dict(zip(table.header, row.fields, strict=True))
            for table in tables.values()
            for row in table.rows
        }
        columns = dict.fromkeys(column for table in tables.values() for column in table.header)
        meanings = {column: meaning for meaning, column in source.config.columns.items()}
        self._texts = [column for column in columns if is_text(meanings.get(column, column))]
        packs = {source.pack_path(split, table) for split, table in tables.items()}
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
        """What a recipe over the folds names as `source.motions`."""
        roots = [self._source.root(split) for split in self._source.splits()]
        return self._pack or Path(os.path.commonpath(roots))

    def table(self, clips: list[Clip]) -> str:
        """The rows of some clips, with a header."""
        lines = ["\t".join(self._columns)]
        silent = dict.fromkeys(self._texts, "")
        rows: list[tuple[Clip, dict[str, str]]] = [(clip, {}) for clip in clips]
        rows += [(clip, silent) for clip in self._source.unlisted(clips)]
        for clip, texts in rows:
            cells = {**self._cells[clip.row], **self._own(clip), **texts}
            lines.append("\t".join(cells.get(column, "") for column in self._columns))
        return "\n".join(lines) + "\n"

    def _own(self, clip: Clip) -> dict[str, str]:
        """What a row has to say itself: column → text."""
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
        """A motion's name from the common folder."""
        return Path(os.path.relpath(self._source.root(split) / media, self.motions)).as_posix()
