"""A corpus of media files listed in one TSV a split, as MultimodalHugs keeps it.

Columns and spans are read by `pose_rows`; what a clip's media is, is a subclass's to say.
"""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from kinesweep.core.clip import Clip
from kinesweep.core.recipe.source import PoseTsvConfig, VideoTsvConfig
from kinesweep.sources.pose_rows import MediaKind, RowReader, told_apart
from kinesweep.sources.rows import Rows
from kinesweep.sources.table import read_table
from kinesweep.sources.table_source import TableSource


class TsvSource(TableSource):
    """What sources of media files share.

    Args:
        config: which tables; relative paths are of the current folder, now.
    """

    where_root: ClassVar[str] = "set `source.root` to a folder that holds all files"
    unique: ClassVar[str] = "give each row an `id` of its own"

    def __init__(self, config: PoseTsvConfig | VideoTsvConfig) -> None:
        super().__init__(config)
        self._common = config
        self._root = Path(config.root).absolute() if config.root is not None else None

    def root(self, split: str) -> Path:
        """The folder that a split's media paths are relative to, absolute."""
        return self._root or self._tables[split].parent

    @property
    @abstractmethod
    def media(self) -> MediaKind:
        """What rows may name."""

    def named(self, clips: list[Clip], unnamed: set[str]) -> list[Clip]:
        """The clips with longer ids where names of files repeat."""
        return told_apart(clips, unnamed)

    def read_rows(self, split: str, path: Path) -> Rows:
        """One split's table as rows."""
        config = self._common
        table = read_table(path, self.table_name(split))
        return RowReader(table, split, config.times, config.ignore_columns, media=self.media).read()
