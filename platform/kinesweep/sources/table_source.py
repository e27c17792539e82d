"""A corpus that is listed in one table a split: what all such sources share.

The tables are read once, on the first question (30,000 rows in about 0.4 s), and never travel with
the object: a worker that only reads clips opens no table. Faults of all tables are raised together.
Media paths stay inside the corpus root. What a row means, and what a clip's media is, is a
subclass's to say.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.paths import inside
from kinesweep.core.recipe.source import OneSourceConfig
from kinesweep.sources.contract import Content, Media
from kinesweep.sources.rows import Rows, duplicate_ids
from kinesweep.sources.table import raise_faults

_MISSING = ("does not exist", "missing_file")


class TableSource(ABC):
    """What sources of tables share.

    Args:
        config: which tables; relative paths are of the current folder, now.
    """

    unusable: ClassVar[str] = "is not a file"
    """What is said of a path that exists, but is no media."""
    where_root: ClassVar[str]
    """What to do about media outside of the root."""
    unique: ClassVar[str]
    """What to do about ids that repeat."""

    def __init__(self, config: OneSourceConfig) -> None:
        self._max_clips = config.max_clips
        self._tables = {split: Path(path).absolute() for split, path in config.splits.items()}
        self._rows: Rows | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_rows": None}

    def splits(self) -> tuple[str, ...]:
        """The splits that have a table."""
        return tuple(self._tables)

    @abstractmethod
    def root(self, split: str) -> Path:
        """The folder that a split's media paths are relative to, absolute."""

    @abstractmethod
    def reading(self) -> dict[str, Any]:
        """What decides, beside a file's content, what is read of it."""

    @abstractmethod
    def read(self, clip: Clip) -> Media:
        """The clip's span of its file."""

    @abstractmethod
    def read_rows(self, split: str, path: Path) -> Rows:
        """One split's table as rows."""

    def named(self, clips: list[Clip], unnamed: set[str]) -> list[Clip]:
        """The clips of all splits, with the ids that they have in the end."""
        return clips

    def probe(self, clip: Clip) -> None:
        """Finds out whether a clip can be read.

        Raises:
            ClipError: it cannot.
        """
        self.read(clip)

    def usable(self, path: Path) -> bool:
        """Whether media of this kind lie at a path."""
        return path.is_file()

    def clips(self, split: str) -> list[Clip]:
        """The usable clips of a split, in the order of its table.

        Raises:
            SourceError: faults of the tables, all at once.
            InputError: there is no such split.
        """
        if split not in self._tables:
            have = ", ".join(self._tables)
            raise InputError(f"the corpus has no split `{split}`; it has {have}")
        return [clip for clip in self._read_tables().clips if clip.split == split]

    def problems(self) -> list[RowProblem]:
        """Rows that are well formed but say nothing to learn from, in the order of the tables.

        Raises:
            SourceError: faults of the tables, all at once.
        """
        return list(self._read_tables().problems)

    def media_path(self, clip: Clip) -> Path:
        """The clip's file.

        Raises:
            ClipError: reason `outside_root`, `missing_file` or `not_a_file`.
        """
        try:
            path = inside(self.root(clip.split), clip.media)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}; {self.where_root}", error.reason) from None
        try:
            if self.usable(path):
                return path
            there = path.exists()
        except (OSError, ValueError):  # a name that no file can have
            there = False
        text, reason = (self.unusable, "not_a_file") if there else _MISSING
        raise ClipError(f"{clip.row}: `{path}` {text}", reason)

    def companions(self, clip: Clip) -> tuple[Path, ...]:
        """None: a clip is its file."""
        return ()

    def contents(self, clips: Sequence[Clip]) -> dict[Clip, Content | ClipError]:
        """None: a clip is its file, and no other is in there."""
        return {}

    def check(self, progress: Callable[[int, int], None] | None = None) -> list[RowProblem]:
        """Opens every clip; `problems()` and what that brings to light, in the order of the rows.

        Raises:
            SourceError: faults of the tables, all at once.
        """
        rows = self._read_tables()
        found = list(rows.problems)
        for number, clip in enumerate(rows.clips, 1):
            try:
                self.probe(clip)
            except ClipError as error:
                found.append(RowProblem(clip.row, clip.id, error.reason, str(error), clip.split))
            if progress is not None:
                progress(number, len(rows.clips))
        return sorted(found, key=lambda problem: self.place(problem.row))

    def place(self, row: str) -> tuple[int, int]:
        """Where a row stands, for sorting: number of its table, and of its line."""
        name, _, line = row.rpartition(":")
        return [self.table_name(split) for split in self._tables].index(name), int(line)

    def table_name(self, split: str) -> str:
        """How messages call a split's table: its file name, or its path where names repeat."""
        path = self._tables[split]
        names = [table.name for table in self._tables.values()]
        return path.name if names.count(path.name) == 1 else str(path)

    def _read_tables(self) -> Rows:
        if self._rows is None:
            self._rows = self._parse()
        return self._rows

    def _parse(self) -> Rows:
        tables = [self.read_rows(split, path) for split, path in self._tables.items()]
        clips = [clip for rows in tables for clip in rows.clips]
        named = self.named(clips, {row for rows in tables for row in rows.unnamed})
        faults = [fault for rows in tables for fault in rows.faults]
        raise_faults([*faults, *duplicate_ids(named, self.unique)])
        together = Rows()
        for rows in tables:
            rows.clips, named = named[: len(rows.clips)], named[len(rows.clips) :]
            kept, problems = self._first(rows)
            together.clips += kept
            together.problems += problems
        return together

    def _first(self, rows: Rows) -> tuple[list[Clip], list[RowProblem]]:
        """The first clips of a table, and the problems above the last of them."""
        most = self._max_clips
        if most is None or len(rows.clips) <= most:
            return rows.clips, rows.problems
        clips = rows.clips[:most]
        last = self.place(clips[-1].row)
        return clips, [problem for problem in rows.problems if self.place(problem.row) < last]
