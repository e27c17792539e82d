"""The base class of sources that list a corpus in one table per split.

The tables are read once, on first access (30,000 rows in about 0.4 s), and are not pickled with the
object, so a worker that only reads clips opens no table. Errors in all tables are raised together.
Media paths must stay inside the corpus root. Subclasses define the meaning of a row and the media
of a clip.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from kinesweep.config.recipe.source import OneSourceConfig
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.paths import resolve_inside
from kinesweep.sources.base import Media, MediaDigest
from kinesweep.sources.tsv.parsed_rows import ParsedRows, duplicate_ids
from kinesweep.sources.tsv.tsv_reader import raise_table_errors

_MISSING = ("does not exist", "missing_file")


class TableSource(ABC):
    """A source that reads its clips from one table per split.

    Args:
        config: Tables of the corpus; relative paths are resolved against the current folder at
            construction.
    """

    unusable: ClassVar[str] = "is not a file"
    """Message for a path that exists but is not a media file."""
    where_root: ClassVar[str]
    """Advice for media outside the root."""
    unique: ClassVar[str]
    """Advice for repeated ids."""

    def __init__(self, config: OneSourceConfig) -> None:
        self._max_clips = config.max_clips
        self._tables = {split: Path(path).absolute() for split, path in config.splits.items()}
        self._rows: ParsedRows | None = None

    def __getstate__(self) -> dict[str, object]:
        # The rows of a large corpus would be copied to every worker, which mostly needs none.
        return {**self.__dict__, "_rows": None}

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a table."""
        return tuple(self._tables)

    @abstractmethod
    def root(self, split: str) -> Path:
        """Return the absolute path of the folder that a split's media paths are relative to."""

    @abstractmethod
    def read_options(self) -> dict[str, Any]:
        """Return the options that determine how the content of a file is read."""

    @abstractmethod
    def read(self, clip: Clip) -> Media:
        """Read the clip's span of its file."""

    @abstractmethod
    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read the table of one split."""

    def make_ids_unique(self, clips: list[Clip], unnamed: set[str]) -> list[Clip]:
        """Return the clips of all splits with their final ids; by default unchanged."""
        return clips

    def verify_clip(self, clip: Clip) -> None:
        """Check that a clip can be read.

        Raises:
            ClipError: If it cannot be read.
        """
        self.read(clip)

    def is_valid_media(self, path: Path) -> bool:
        """Return whether a path is a media file of this source."""
        return path.is_file()

    def clips(self, split: str) -> list[Clip]:
        """Return the usable clips of a split in the order of its table.

        Raises:
            SourceError: If the tables have errors; all of them at once.
            InputError: If the corpus has no such split.
        """
        if split not in self._tables:
            have = ", ".join(self._tables)
            raise InputError(f"the corpus has no split `{split}`; it has {have}")
        return [clip for clip in self._read_tables().clips if clip.split == split]

    def problems(self) -> list[InvalidRow]:
        """Return the rows that are well formed but unusable, in the order of the tables.

        Raises:
            SourceError: If the tables have errors; all of them at once.
        """
        return list(self._read_tables().problems)

    def media_path(self, clip: Clip) -> Path:
        """Return the path of the clip's file.

        Raises:
            ClipError: With reason `outside_root`, `missing_file` or `not_a_file`.
        """
        try:
            # A table must not reach files outside the corpus, for example by `../`.
            path = resolve_inside(self.root(clip.split), clip.media)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}; {self.where_root}", error.reason) from None
        try:
            if self.is_valid_media(path):
                return path
            there = path.exists()
        except (OSError, ValueError):  # a name that no file can have: too long, or with a NUL
            there = False
        text, reason = (self.unusable, "not_a_file") if there else _MISSING
        raise ClipError(f"{clip.row}: `{path}` {text}", reason)

    def auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return no auxiliary files; subclasses may add some."""
        return ()

    def contents(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Return no digests: by default the store hashes the whole file of each clip."""
        return {}

    def check(self, progress: Callable[[int, int], None] | None = None) -> list[InvalidRow]:
        """Open every clip; return `problems()` and the problems found, in the order of the rows.

        Raises:
            SourceError: If the tables have errors; all of them at once.
        """
        rows = self._read_tables()
        found = list(rows.problems)
        for number, clip in enumerate(rows.clips, 1):
            try:
                self.verify_clip(clip)
            except ClipError as error:
                found.append(InvalidRow(clip.row, clip.id, error.reason, str(error), clip.split))
            if progress is not None:
                progress(number, len(rows.clips))
        return sorted(found, key=lambda problem: self.place(problem.row))

    def place(self, row: str) -> tuple[int, int]:
        """Return a sort key: index of the row's table and line number."""
        # From the right: the name of a table may be a path with colons.
        name, _, line = row.rpartition(":")
        return [self.table_name(split) for split in self._tables].index(name), int(line)

    def table_name(self, split: str) -> str:
        """Return the name of a split's table in messages: its path if file names repeat."""
        path = self._tables[split]
        names = [table.name for table in self._tables.values()]
        return path.name if names.count(path.name) == 1 else str(path)

    def _read_tables(self) -> ParsedRows:
        """Return the rows of all tables, which are read on the first call."""
        if self._rows is None:
            self._rows = self._parse()
        return self._rows

    def _parse(self) -> ParsedRows:
        """Read all tables, make ids final, raise the errors and apply `max_clips`."""
        tables = [self.read_rows(split, path) for split, path in self._tables.items()]
        clips = [clip for rows in tables for clip in rows.clips]
        # Ids are made unique over all splits and before `max_clips` is applied, so that a clip has
        # the same id whatever the limit.
        named = self.make_ids_unique(clips, {row for rows in tables for row in rows.unnamed})
        faults = [fault for rows in tables for fault in rows.faults]
        raise_table_errors([*faults, *duplicate_ids(named, self.unique)])
        together = ParsedRows()
        for rows in tables:
            # `named` keeps the order of the tables, so each table takes its clips from the front.
            rows.clips, named = named[: len(rows.clips)], named[len(rows.clips) :]
            kept, problems = self._first(rows)
            together.clips += kept
            together.problems += problems
        return together

    def _first(self, rows: ParsedRows) -> tuple[list[Clip], list[InvalidRow]]:
        """Return the first `max_clips` clips of a table and the problems above the last of them."""
        most = self._max_clips
        if most is None or len(rows.clips) <= most:
            return rows.clips, rows.problems
        clips = rows.clips[:most]
        last = self.place(clips[-1].row)
        return clips, [problem for problem in rows.problems if self.place(problem.row) < last]
