"""The base class of corpora of media files that are listed in one TSV per split.

The tables have the format of MultimodalHugs. `tsv_rows` reads their columns and spans; subclasses
define the media of a clip.
"""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from kinesweep.config.recipe.source import PoseTsvConfig, VideoTsvConfig
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.sources.tsv.base_table_source import TableSource
from kinesweep.sources.tsv.media_names import MediaKind
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.row_spans import TimeUnit, find_unit_error_by_media
from kinesweep.sources.tsv.tsv_reader import read_table
from kinesweep.sources.tsv.tsv_rows import RowReader, make_ids_unique


class MediaTsvSource(TableSource):
    """A source of media files that are named in TSVs.

    Args:
        config: Tables and root folder; relative paths are resolved against the current folder at
            construction.
    """

    outside_root_advice: ClassVar[str] = "set `source.root` to a folder that holds all files"
    duplicate_id_advice: ClassVar[str] = "give each row an `id` of its own"

    def __init__(self, config: PoseTsvConfig | VideoTsvConfig | FeatureTsvConfig) -> None:
        super().__init__(config)
        self._table_config = config
        self._root = Path(config.root).absolute() if config.root is not None else None

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
        return make_ids_unique(clips, rows_without_id)

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read the table of one split, and return its clips, invalid rows and errors."""
        config = self._table_config
        table = read_table(path, self.get_table_name(split))
        rows = RowReader(
            table, split, config.time_unit, config.ignore_columns, media_kind=self.media_kind
        ).read()
        if config.time_unit == "ms" and not rows.errors:
            error_text = find_unit_error_by_media(rows.clips, self._find_duration_s)
            rows.errors += [(table.name, error_text)] if error_text else []
        return rows

    def _find_duration_s(self, clip: Clip) -> float | None:
        """Return the duration of a clip's whole file in seconds, or None if it cannot be read."""
        try:
            return self.read_duration_s(clip)
        except ClipError:
            return None
