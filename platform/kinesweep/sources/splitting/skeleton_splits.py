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

from kinesweep.config.recipe.skeletons import is_text_meaning
from kinesweep.core.clip import Clip
from kinesweep.sources.skeletons.skeleton_rows import split_pack_path
from kinesweep.sources.skeletons.skeletons import SkeletonsSource


class SkeletonTableFormatter:
    """A formatter of tables that contain rows of a corpus of skeletons.

    Args:
        source: Source of the corpus, whose tables are read at construction.
    """

    def __init__(self, source: SkeletonsSource) -> None:
        self._source = source
        # Meaning → column name; the recipe may rename columns.
        self._column_by_meaning = {name: name for name in ("id", "index", "motion", "reference")}
        self._column_by_meaning |= source.config.columns
        tables = {split: source.read_split_table(split) for split in source.list_splits()}
        self._cells_by_row = {
            f"{table.name}:{row.line}": dict(zip(table.header, row.fields, strict=True))
            for table in tables.values()
            for row in table.rows
        }
        # The union of the columns of all tables in their order; cells that a table lacks are empty.
        columns = dict.fromkeys(column for table in tables.values() for column in table.header)
        meanings = {column: meaning for meaning, column in source.config.columns.items()}
        self._text_columns = [
            column for column in columns if is_text_meaning(meanings.get(column, column))
        ]
        packs = {source.get_pack_path(split, table) for split, table in tables.items()}
        # A pack that all tables share stays where it is. With several packs, or with single files
        # beside the tables, rows must name their motions by path.
        self._pack_path = packs.pop() if len(packs) == 1 else None
        self._writes_motion_paths = self._pack_path is None and source.config.motions is None
        added_meanings = ["id"] if self._pack_path is None else ["id", "index"]
        if self._writes_motion_paths:
            added_meanings.append("motion")
            columns.pop(self._column_by_meaning["index"], None)
        self._columns = [
            name for key in added_meanings if (name := self._column_by_meaning[key]) not in columns
        ]
        self._columns += columns

    @property
    def motions_path(self) -> Path:
        """Return the path that a recipe over the folds sets as `source.motions`."""
        roots = [self._source.get_root(split) for split in self._source.list_splits()]
        return self._pack_path or Path(os.path.commonpath(roots))

    def format_table(self, clips: list[Clip]) -> str:
        """Format a table with a header and the rows of some clips."""
        lines = ["\t".join(self._columns)]
        empty_texts = dict.fromkeys(self._text_columns, "")
        rows: list[tuple[Clip, dict[str, str]]] = [(clip, {}) for clip in clips]
        rows += [(clip, empty_texts) for clip in self._source.list_unlisted_references(clips)]
        for clip, texts in rows:
            # Later entries win: explicit ids and motions, then the emptied texts of references.
            cells = {**self._cells_by_row[clip.row], **self._get_explicit_cells(clip), **texts}
            lines.append("\t".join(cells.get(column, "") for column in self._columns))
        return "\n".join(lines) + "\n"

    def _get_explicit_cells(self, clip: Clip) -> dict[str, str]:
        """Return the cells that a row needs outside its table, such as its id: column → text."""
        explicit_cells = {self._column_by_meaning["id"]: clip.id}
        if self._pack_path is not None:
            explicit_cells[self._column_by_meaning["index"]] = str(split_pack_path(clip.media)[1])
        if self._writes_motion_paths:
            explicit_cells[self._column_by_meaning["motion"]] = self._make_motion_path_relative(
                clip.split, clip.media
            )
            reference = self._source.get_reference_motion(clip)
            if reference is not None:
                explicit_cells[self._column_by_meaning["reference"]] = (
                    self._make_motion_path_relative(clip.split, reference)
                )
        return explicit_cells

    def _make_motion_path_relative(self, split: str, media: str) -> str:
        """Return the path of a motion relative to the common folder."""
        return Path(
            os.path.relpath(self._source.get_root(split) / media, self.motions_path)
        ).as_posix()
