"""The base class of corpora of media files that are listed in one TSV per split.

The tables have the format of MultimodalHugs. `tsv_rows` reads their columns and spans; subclasses
define the media of a clip.
"""

import os
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from kinesweep.config.recipe.source import PoseTsvConfig, VideoTsvConfig
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.config.recipe.sources.image_tsv import ImageTsvConfig
from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.sources.tsv.base_table_source import TableSource
from kinesweep.sources.tsv.media_column import (
    IdMedia,
    MediaColumn,
    make_ids_unique_by_signal,
)
from kinesweep.sources.tsv.media_names import MediaKind
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.row_spans import TimeUnit, find_unit_error_by_media
from kinesweep.sources.tsv.tsv_reader import Table, read_table
from kinesweep.sources.tsv.tsv_rows import RowReader, make_ids_unique

MediaTsvConfig = (
    PoseTsvConfig
    | VideoTsvConfig
    | FeatureTsvConfig
    | ImageTsvConfig
    | TextTsvConfig
    | SignWritingTsvConfig
)
"""Configs of corpora that are listed in such tables."""


class MediaTsvSource(TableSource):
    """A source of clips that are listed in TSVs, mostly of media files that these name.

    Args:
        config: Tables and root folder; relative paths are resolved against the current folder at
            construction.
    """

    outside_root_advice: ClassVar[str] = "set `source.root` to a folder that holds all files"
    duplicate_id_advice: ClassVar[str] = "give each row an `id` of its own"

    def __init__(self, config: MediaTsvConfig) -> None:
        super().__init__(config)
        self._ignored_columns = config.ignore_columns
        # Texts have no root, and neither texts nor images have times.
        root: str | None = getattr(config, "root", None)
        self._time_unit: TimeUnit = getattr(config, "time_unit", "ms")
        self._root = Path(root).absolute() if root is not None else None
        self._column: str | None = getattr(config, "column", None)
        self._id_column: str | None = getattr(config, "id_column", None)
        self._needs_text = not getattr(config, "allow_empty_texts", False)
        # Row → media path and span by which its clip is named, if `source.column` is set.
        self._id_media: dict[str, IdMedia] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_id_media": {}}

    def get_root(self, split: str) -> Path:
        """Return the absolute path of the folder that a split's media paths are relative to."""
        return self._root or self._tables[split].parent

    @property
    @abstractmethod
    def media_kind(self) -> MediaKind:
        """Return the kind of media file that the rows of the tables may name."""

    @abstractmethod
    def read_duration_s(self, clip: Clip) -> float:
        """Return the duration of a clip's whole file in seconds.

        Raises:
            ClipError: If the file cannot be read.
        """

    @property
    def time_unit(self) -> TimeUnit:
        """Return the unit of the start and end times in the tables."""
        return self._time_unit

    def format_media(self, clip: Clip, root: Path) -> str:
        """Format the media of a clip for a table: the path of its file, relative to `root`."""
        path = self.get_root(clip.split) / clip.media
        return Path(os.path.relpath(path, root)).as_posix()

    def make_ids_unique(self, clips: list[Clip], rows_without_id: set[str]) -> list[Clip]:
        """Return the clips with repeated ids lengthened, except ids from a column `id`."""
        if self._id_media:
            return make_ids_unique_by_signal(clips, rows_without_id, self._id_media)
        return make_ids_unique(clips, rows_without_id)

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read the table of one split, and return its clips, invalid rows and errors."""
        table = read_table(path, self.get_table_name(split))
        rows = self.parse_table(table, split, self.time_unit)
        if self.time_unit == "ms" and not rows.errors:
            error_text = find_unit_error_by_media(rows.clips, self._find_duration_s)
            rows.errors += [(table.name, error_text)] if error_text else []
        return rows

    def parse_table(
        self, table: Table, split: str, time_unit: TimeUnit, unused_columns: tuple[str, ...] = ()
    ) -> ParsedRows:
        """Convert the rows of a table to clips, with the media of `source.column` if it is set.

        Args:
            table: Table of the split.
            split: Split that the clips belong to.
            time_unit: Unit of the start and end times.
            unused_columns: Columns to ignore besides `source.ignore_columns`.
        """
        kind = self.media_kind
        ignored = (*self._ignored_columns, *unused_columns)
        if self._column is None:
            return RowReader(table, split, time_unit, ignored, self._needs_text, kind).read()
        selected = MediaColumn.select(
            table,
            self._column,
            time_unit,
            id_column=self._id_column,
            ignored_columns=self._ignored_columns,
        )
        if selected.errors:
            return ParsedRows(errors=[*table.errors, *selected.errors])
        self._id_media |= selected.id_media
        ignored = (*ignored, *selected.ignored_columns)
        rows = RowReader(selected.table, split, time_unit, ignored, self._needs_text, kind).read()
        return selected.restore_ids(rows, split)

    def _find_duration_s(self, clip: Clip) -> float | None:
        """Return the duration of a clip's whole file in seconds, or None if it cannot be read."""
        try:
            return self.read_duration_s(clip)
        except ClipError:
            return None
