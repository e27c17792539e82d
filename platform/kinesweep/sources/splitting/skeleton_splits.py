"""Cross-validation tables for a corpus of skeletons.

The rows of the corpus are distributed anew and keep all their columns, including unused ones, so
the recipe of the corpus can read the folds with other table paths and `source.motions`. Information
that was implied by a row's position in its table becomes explicit: the index of the motion in the
pack, and the id. If each table had its motions next to it, rows name them from a common folder.
Rows that are not clips but contain the reference motion of a clip are copied without their texts,
so that they do not become clips.
"""

import os
from pathlib import Path

from kinesweep.config.recipe.sources.skeleton_meanings import (
    is_augmented_meaning,
    is_text_meaning,
)
from kinesweep.core.clip import Clip
from kinesweep.core.tables.table_writing import format_table
from kinesweep.sources.skeletons.skeleton_rows import split_pack_path
from kinesweep.sources.skeletons.skeletons import SkeletonsSource


class SkeletonTableFormatter:
    """A formatter of tables that contain rows of a corpus of skeletons.

    Args:
        source: Source of the corpus, whose tables are read at construction.

    Raises:
        SourceError: If the tables have errors.
    """

    def __init__(self, source: SkeletonsSource) -> None:
        self._source = source
        # Meaning → column name; the recipe may rename columns.
        self._column_by_meaning = {name: name for name in ("id", "index", "motion", "reference")}
        self._column_by_meaning |= source.config.columns
        tables = {split: source.read_split_table(split) for split in source.list_splits()}
        self._cells_by_row = {
            f"{table.name}:{row.line_number}": dict(zip(table.header, row.fields, strict=True))
            for table in tables.values()
            for row in table.rows
        }
        # The union of the columns of all tables in their order; cells that a table lacks are empty.
        columns = dict.fromkeys(column for table in tables.values() for column in table.header)
        meanings = {column: meaning for meaning, column in source.config.columns.items()}
        self._text_columns = [
            column
            for column in columns
            if is_text_meaning(meaning := meanings.get(column, column))
            or is_augmented_meaning(meaning)
        ]
        packs = {source.get_pack_path(split, table) for split, table in tables.items()}
        # A pack that all tables share stays where it is. With several packs, or with single files
        # beside the tables, rows must name their motions by path.
        self._pack_path = packs.pop() if len(packs) == 1 else None
        self._writes_motion_paths = self._pack_path is None and source.config.motions is None
        explicit_meanings = ["id"] if self._pack_path is None else ["id", "index"]
        if self._writes_motion_paths:
            explicit_meanings.append("motion")
            # The path of a motion in a pack contains its index, which must not be stated twice.
            columns.pop(self._column_by_meaning["index"], None)
        explicit_columns = [self._column_by_meaning[meaning] for meaning in explicit_meanings]
        self._columns = [column for column in explicit_columns if column not in columns]
        self._columns += columns

    @property
    def motions_path(self) -> Path:
        """Return the path that a recipe over the folds sets as `source.motions`.

        This is the pack that all tables share, or else the common folder of all motions.
        """
        roots = [self._source.get_root(split) for split in self._source.list_splits()]
        return self._pack_path or Path(os.path.commonpath(roots))

    def format_table(self, clips: list[Clip]) -> str:
        """Format a table with a header, the rows of some clips, and their reference motions.

        Rows of reference motions that are not clips themselves come last and have no texts.
        """
        table: list[list[str]] = [self._columns]
        empty_texts = dict.fromkeys(self._text_columns, "")
        rows: list[tuple[Clip, dict[str, str]]] = [(clip, {}) for clip in clips]
        rows += [(clip, empty_texts) for clip in self._source.list_reference_motion_clips(clips)]
        for clip, texts in rows:
            # Later entries win: explicit ids and motions, then the emptied texts of references.
            cells = {**self._cells_by_row[clip.row], **self._get_explicit_cells(clip), **texts}
            table.append([cells.get(column, "") for column in self._columns])
        return format_table(table)

    def _get_explicit_cells(self, clip: Clip) -> dict[str, str]:
        """Return the cells that state what a clip's place in its table implied, by column.

        These are its id and, where needed, the index or path of its motion and the path of its
        reference motion.
        """
        explicit_cells = {self._column_by_meaning["id"]: clip.id}
        if self._pack_path is not None:
            explicit_cells[self._column_by_meaning["index"]] = str(split_pack_path(clip.media)[1])
        if self._writes_motion_paths:
            explicit_cells[self._column_by_meaning["motion"]] = self._make_motion_path_relative(
                clip.split, clip.media
            )
            reference_media = self._source.find_unlisted_reference_media(clip)
            if reference_media is not None:
                explicit_cells[self._column_by_meaning["reference"]] = (
                    self._make_motion_path_relative(clip.split, reference_media)
                )
        return explicit_cells

    def _make_motion_path_relative(self, split: str, media: str) -> str:
        """Return the path of a motion relative to `motions_path`.

        Args:
            split: Split whose root the path of the motion starts at.
            media: Path of the motion, as in `Clip.media`.
        """
        return Path(
            os.path.relpath(self._source.get_root(split) / media, self.motions_path)
        ).as_posix()
