"""Sources that other packages add by entry point, and the base class that they inherit from.

A source of another package states two things: the clips that a table of a split lists, and the
media in a file. All else follows from these as for our own sources: ids are unique, media stay
inside the root, problems are reported by row, and a bundle translates files of the same kind.
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from kinesweep.config.parts import SourcePart, build_part
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError, InputError, KinesweepError
from kinesweep.core.units import Span
from kinesweep.sources.base import TABLE_ERROR, Media
from kinesweep.sources.tsv.base_table_source import TableSource
from kinesweep.sources.tsv.parsed_rows import ParsedRows

_UNREAD_KEYS = ("train", "validation", "test", "root", "max_clips", "name", "sampling_weight")
"""Keys that do not change what is read from a file."""


class FileTableSource(TableSource):
    """Base class of sources of other packages, with one media file per clip.

    A subclass implements `read_clips` and `read_file`, and must pickle.

    Args:
        config: Section of the recipe.
    """

    outside_root_advice: ClassVar[str] = "media paths must stay inside `source.root`"
    duplicate_id_advice: ClassVar[str] = "ids must be unique in the corpus"

    def __init__(self, config: SourcePart) -> None:
        super().__init__(config)
        self.config = config
        folders = {split: table.parent for split, table in self._tables.items()}
        self._roots = {
            split: folder if config.root is None else Path(config.root).absolute()
            for split, folder in folders.items()
        }

    @abstractmethod
    def read_clips(self, split: str, path: Path) -> Iterable[Clip | InvalidRow]:
        """Return the clips that the table of a split lists, without opening any media.

        A row that cannot be used is an `InvalidRow` with its reason. A clip with an empty `row`
        gets its position in the result as its row.

        Args:
            split: Split that the clips belong to.
            path: Path of the table.

        Raises:
            ValueError: If the table cannot be read; the message says why.
        """

    @abstractmethod
    def read_file(self, path: Path, span: Span) -> Media:
        """Return the media in a part of a file.

        Args:
            path: Path of the file.
            span: Part to read.

        Raises:
            ClipError: If it cannot be used, with the reason under which it is counted.
        """

    def get_root(self, split: str) -> Path:
        """Return the absolute path of the folder that a split's media paths are relative to."""
        return self._roots[split]

    def get_read_options(self) -> dict[str, Any]:
        """Return the settings of the source other than its files, by name."""
        settings = self.config.model_dump(mode="json", exclude=set(_UNREAD_KEYS))
        return {"source": settings.pop("kind"), **settings}

    def read(self, clip: Clip) -> Media:
        """Return the media of a clip.

        Raises:
            ClipError: If it cannot be used; the message begins with the clip's row.
        """
        path = self.resolve_media_path(clip)
        try:
            return self.read_file(path, clip.span)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None
        except KinesweepError:
            raise
        # Code of another package, which may fail in any way; the clip is dropped and counted.
        except Exception as error:
            text = f"{clip.row}: `read_file` of `{self.config.kind}` fails on `{path}`"
            raise ClipError(f"{text}: {type(error).__name__}: {error}", "unreadable") from error

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read the clips, invalid rows and errors of the table of one split.

        Args:
            split: Split of the table.
            path: Path of the table.

        Raises:
            InputError: If `read_clips` gives anything but clips and invalid rows.
        """
        rows = ParsedRows()
        table = self.get_table_name(split)
        try:
            for number, row in enumerate(self.read_clips(split, path), 1):
                self._add_row(rows, row, split, f"{table}:{number}")
        except InputError:
            raise
        # Code of another package, which may fail in any way, also after some rows.
        except Exception as error:
            text = f"`{path}` cannot be read: {type(error).__name__}: {error}"
            rows.errors.append((f"{table}:1", text))
        return rows

    def _add_row(self, rows: ParsedRows, row: object, split: str, position: str) -> None:
        """Add a row of a table to those that were read before.

        Args:
            rows: Rows to add to.
            row: Clip or invalid row as `read_clips` gave it.
            split: Split of the table.
            position: Location of the row, for one that does not state its own.

        Raises:
            InputError: If the row is neither a clip nor an invalid row.
        """
        if isinstance(row, InvalidRow):
            named = replace(row, row=row.row or position)
            if row.reason == TABLE_ERROR:
                rows.errors.append((named.row, named.message))
            else:
                rows.invalid_rows.append(named)
        elif not isinstance(row, Clip):
            raise InputError(
                f"`read_clips` of `{self.config.kind}` must give `Clip` or `InvalidRow`, not"
                f" {type(row).__name__}"
            )
        elif not any(text.strip() for text in row.texts):
            text = "has no text; a clip needs one to learn from"
            rows.invalid_rows.append(InvalidRow(row.row or position, row.id, "empty_text", text))
        else:
            rows.clips.append(replace(row, split=split, row=row.row or position))

    def get_row_position(self, row: str) -> tuple[int, int]:
        """Return the index of a row's table and its number in it, by which rows are sorted."""
        name, _, number = row.rpartition(":")
        tables = [self.get_table_name(split) for split in self._tables]
        # Rows that a package names in its own way come last, in any order.
        is_known = name in tables and number.isdecimal()
        return (tables.index(name), int(number)) if is_known else (len(tables), 0)


def build_source_part(config: SourcePart) -> FileTableSource:
    """Build the source of a package, whose class is called as `(config)`.

    Raises:
        InputError: If its package is not installed, or its class cannot be imported or built or is
            not a source.
    """
    source: FileTableSource = build_part(config, (config,), FileTableSource)
    return source
