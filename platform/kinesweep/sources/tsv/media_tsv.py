"""The base class of corpora of media files that are listed in one TSV per split.

The tables have the format of MultimodalHugs. `tsv_rows` reads their columns and spans; subclasses
define the media of a clip.
"""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from kinesweep.config.recipe.source import PoseTsvConfig, VideoTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.sources.tsv.base_table_source import TableSource
from kinesweep.sources.tsv.media_column import MediaColumn, make_ids_unique_by_signal
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.row_spans import TimeUnit, find_unit_error_by_media
from kinesweep.sources.tsv.tsv_reader import Table, read_table
from kinesweep.sources.tsv.tsv_rows import MediaKind, RowReader, make_ids_unique


class MediaTsvSource(TableSource):
    """A source of media files that are named in TSVs.

    Args:
        config: Tables and root folder; relative paths are resolved against the current folder at
            construction.
    """

    outside_root_advice: ClassVar[str] = "set `source.root` to a folder that holds all files"
    duplicate_id_advice: ClassVar[str] = "give each row an `id` of its own"

    def __init__(self, config: PoseTsvConfig | VideoTsvConfig) -> None:
        super().__init__(config)
        self._table_config = config
        self._root = Path(config.root).absolute() if config.root is not None else None
        # Row → media path by which its clip is named, if `source.column` names other media.
        self._id_media: dict[str, str] = {}

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
        return self._table_config.time_unit

    def make_ids_unique(self, clips: list[Clip], rows_without_id: set[str]) -> list[Clip]:
        """Return the clips with repeated ids lengthened, except ids from a column `id`."""
        if self._id_media:
            return make_ids_unique_by_signal(clips, rows_without_id, self._id_media)
        return make_ids_unique(clips, rows_without_id)

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read the table of one split, and return its clips, invalid rows and errors."""
        config = self._table_config
        table = read_table(path, self.get_table_name(split))
        rows = self.parse_table(table, split, config.time_unit)
        if config.time_unit == "ms" and not rows.errors:
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
        config, kind = self._table_config, self.media_kind
        ignored = (*config.ignore_columns, *unused_columns)
        if config.column is None:
            return RowReader(table, split, time_unit, ignored, media_kind=kind).read()
        selected = MediaColumn.select(table, config.column)
        if selected.errors:
            return ParsedRows(errors=[*table.errors, *selected.errors])
        self._id_media |= selected.id_media
        ignored = (*ignored, *selected.ignored_columns)
        rows = RowReader(selected.table, split, time_unit, ignored, media_kind=kind).read()
        return selected.restore_ids(rows, split, time_unit)

    def _find_duration_s(self, clip: Clip) -> float | None:
        """Return the duration of a clip's whole file in seconds, or None if it cannot be read."""
        try:
            return self.read_duration_s(clip)
        except ClipError:
            return None
