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

from kinesweep.config.recipe.source import SingleSourceConfig
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.paths import resolve_path_inside
from kinesweep.sources.base import CorpusRows, Media, MediaDigest
from kinesweep.sources.tsv.parsed_rows import ParsedRows, find_duplicate_ids, to_corpus_rows
from kinesweep.sources.tsv.tsv_reader import raise_table_errors

_MISSING_FILE = ("does not exist", "missing_file")


class TableSource(ABC):
    """A source that reads its clips from one table per split.

    Args:
        config: Tables of the corpus; relative paths are resolved against the current folder at
            construction.
    """

    invalid_media_message: ClassVar[str] = "is not a file"
    """Message for a path that exists but is not a media file."""
    outside_root_advice: ClassVar[str]
    """Advice for media outside the root."""
    duplicate_id_advice: ClassVar[str]
    """Advice for repeated ids."""

    def __init__(self, config: SingleSourceConfig) -> None:
        self._max_clips = config.max_clips
        self._tables = {split: Path(path).absolute() for split, path in config.splits.items()}
        self._rows: ParsedRows | None = None

    def __getstate__(self) -> dict[str, object]:
        # The rows of a large corpus would be copied to every worker, which mostly needs none.
        return {**self.__dict__, "_rows": None}

    def list_splits(self) -> tuple[str, ...]:
        """Return the splits that have a table, in the order train, validation, test."""
        return tuple(self._tables)

    @abstractmethod
    def get_root(self, split: str) -> Path:
        """Return the absolute path of the folder that a split's media paths are relative to."""

    @abstractmethod
    def get_read_options(self) -> dict[str, Any]:
        """Return the options that determine how a file's content is read, by name."""

    @abstractmethod
    def read(self, clip: Clip) -> Media:
        """Return the media of a clip, that is, its span of its file.

        Raises:
            ClipError: If the clip is unusable, with the reason under which it is counted.
        """

    @abstractmethod
    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read the table of one split, and return its clips, invalid rows and errors.

        Args:
            split: Split that the clips belong to.
            path: Path of the table.
        """

    def make_ids_unique(self, clips: list[Clip], rows_without_id: set[str]) -> list[Clip]:
        """Return the clips unchanged; subclasses may replace ids that occur more than once.

        Ids that are still repeated are reported as errors of the tables.

        Args:
            clips: Clips of all splits.
            rows_without_id: Rows without an id of their own, whose clips may get another id.
        """
        return clips

    def verify_clip(self, clip: Clip) -> None:
        """Check that a clip can be read.

        Raises:
            ClipError: If it cannot be read.
        """
        self.read(clip)

    def is_valid_media(self, path: Path) -> bool:
        """Return whether a path leads to media: here to a file, in subclasses also to a folder."""
        return path.is_file()

    def list_clips(self, split: str) -> list[Clip]:
        """Return the usable clips of a split in the order of its table.

        Raises:
            SourceError: If the tables have errors; the message contains all of them.
            InputError: If the corpus has no such split.
        """
        if split not in self._tables:
            available = ", ".join(self._tables)
            raise InputError(f"the corpus has no split `{split}`; it has {available}")
        return [clip for clip in self._get_rows().clips if clip.split == split]

    def list_invalid_rows(self) -> list[InvalidRow]:
        """Return the rows of all splits that are well formed but unusable, in table order.

        Raises:
            SourceError: If the tables have errors; the message contains all of them.
        """
        return list(self._get_rows().invalid_rows)

    def read_all_rows(self) -> CorpusRows:
        """Return the clips, invalid rows and malformed rows of all splits without an error."""
        return to_corpus_rows(self._load_rows())

    def resolve_media_path(self, clip: Clip) -> Path:
        """Return the absolute path of the clip's media file or folder of images.

        Raises:
            ClipError: With reason `outside_root`, `missing_file`, `not_a_file` or `unreadable`.
        """
        try:
            # A table must not reach files outside the corpus, for example by `../`.
            path = resolve_path_inside(self.get_root(clip.split), clip.media)
        except ClipError as error:
            raise ClipError(
                f"{clip.row}: {error}; {self.outside_root_advice}", error.reason
            ) from None
        try:
            if self.is_valid_media(path):
                return path
            exists = path.exists()
        except PermissionError as error:
            raise ClipError(
                f"{clip.row}: `{path}` cannot be read: {error.strerror}", "unreadable"
            ) from None
        except (OSError, ValueError):  # a name that no file can have: too long, or with a NUL
            exists = False
        text, reason = (self.invalid_media_message, "not_a_file") if exists else _MISSING_FILE
        raise ClipError(f"{clip.row}: `{path}` {text}", reason)

    def list_auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return an empty tuple; subclasses whose features depend on further files return them."""
        return ()

    def compute_digests(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Return an empty dictionary, so that the store hashes the whole file of each clip."""
        return {}

    def check_clips(self, progress: Callable[[int, int], None] | None = None) -> list[InvalidRow]:
        """Open the media of every clip of all splits and return all invalid rows, in table order.

        Args:
            progress: Function to call after each clip with the number of clips that were checked
                and the number of all clips.

        Raises:
            SourceError: If the tables have errors; the message contains all of them.
        """
        rows = self._get_rows()
        invalid_rows = list(rows.invalid_rows)
        for num_checked, clip in enumerate(rows.clips, 1):
            try:
                self.verify_clip(clip)
            except ClipError as error:
                invalid_rows.append(
                    InvalidRow(clip.row, clip.id, error.reason, str(error), clip.split)
                )
            if progress is not None:
                progress(num_checked, len(rows.clips))
        return sorted(invalid_rows, key=lambda invalid: self.get_row_position(invalid.row))

    def get_row_position(self, row: str) -> tuple[int, int]:
        """Return the index of a row's table and the row's line number, by which rows are sorted.

        Args:
            row: Location of the row, for example `train.tsv:12`.
        """
        # From the right: the name of a table may be a path with colons.
        name, _, line_number = row.rpartition(":")
        return [self.get_table_name(split) for split in self._tables].index(name), int(line_number)

    def get_table_name(self, split: str) -> str:
        """Return a split's table name for messages: its file name, or its path if names repeat."""
        path = self._tables[split]
        names = [table.name for table in self._tables.values()]
        return path.name if names.count(path.name) == 1 else str(path)

    def _get_rows(self) -> ParsedRows:
        """Return the parsed rows of all tables, which are read on the first call.

        Raises:
            SourceError: If the tables have errors; the message contains all of them.
        """
        rows = self._load_rows()
        raise_table_errors(rows.errors)
        return rows

    def _load_rows(self) -> ParsedRows:
        """Return the parsed rows and errors of all tables, which are read on the first call."""
        if self._rows is None:
            self._rows = self._parse_tables()
        return self._rows

    def _parse_tables(self) -> ParsedRows:
        """Read all tables, make the ids of their clips unique and limit them to `max_clips`."""
        tables = [self.read_rows(split, path) for split, path in self._tables.items()]
        clips = [clip for rows in tables for clip in rows.clips]
        # Ids are made unique over all splits and before `max_clips` is applied, so that a clip has
        # the same id whatever the limit.
        unique_clips = self.make_ids_unique(
            clips, {row for rows in tables for row in rows.rows_without_id}
        )
        errors = [error for rows in tables for error in rows.errors]
        errors += find_duplicate_ids(unique_clips, self.duplicate_id_advice)
        combined = ParsedRows(errors=errors)
        for rows in tables:
            # `unique_clips` has the order of the tables: each table takes its clips from the front.
            rows.clips, unique_clips = (
                unique_clips[: len(rows.clips)],
                unique_clips[len(rows.clips) :],
            )
            first_clips, invalid_rows = self._limit_clips(rows)
            combined.clips += first_clips
            combined.invalid_rows += invalid_rows
        return combined

    def _limit_clips(self, rows: ParsedRows) -> tuple[list[Clip], list[InvalidRow]]:
        """Return the first `max_clips` clips of a table, and the invalid rows before the last one.

        Without `max_clips`, or in a shorter table, all clips and invalid rows are returned.
        """
        max_clips = self._max_clips
        if max_clips is None or len(rows.clips) <= max_clips:
            return rows.clips, rows.invalid_rows
        clips = rows.clips[:max_clips]
        last_position = self.get_row_position(clips[-1].row)
        return clips, [
            invalid_row
            for invalid_row in rows.invalid_rows
            if self.get_row_position(invalid_row.row) < last_position
        ]
