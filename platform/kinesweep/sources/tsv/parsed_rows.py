"""The result of parsing tables: clips, invalid rows and errors; and a check for unique ids."""

from dataclasses import dataclass, field

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.sources.base import TABLE_ERROR, CorpusRows
from kinesweep.sources.tsv.tsv_reader import TableError


@dataclass
class ParsedRows:
    """The parsed rows of one or several tables.

    Attributes:
        clips: Clips of the usable rows, in the order of the tables.
        invalid_rows: Rows that are well formed but unusable, in the order of the tables.
        reference_motion_clips: Clips of unusable rows that other clips may still name as their
            reference motion.
        errors: Errors in the tables; any of them makes the corpus unreadable.
        rows_without_id: Rows of clips without a value in the column `id`.
        row_positions: Row → position in its file, for formats without line numbers.
    """

    clips: list[Clip] = field(default_factory=list)
    invalid_rows: list[InvalidRow] = field(default_factory=list)
    reference_motion_clips: list[Clip] = field(default_factory=list)
    errors: list[TableError] = field(default_factory=list)
    rows_without_id: set[str] = field(default_factory=set)
    row_positions: dict[str, int] = field(default_factory=dict)


def to_corpus_rows(rows: ParsedRows) -> CorpusRows:
    """Convert parsed rows to rows of a corpus, with its errors as invalid rows."""
    errors = [InvalidRow(location, "", TABLE_ERROR, text) for location, text in rows.errors]
    return CorpusRows(list(rows.clips), list(rows.invalid_rows), errors)


def find_duplicate_ids(clips: list[Clip], advice: str) -> list[TableError]:
    """Return one error for each row whose clip id an earlier row of any split already uses.

    Args:
        clips: Clips of all splits in the order of their rows.
        advice: Instruction that ends the message of each error.
    """
    # One error per row: a row may give several clips (one per epoch), which all repeat together.
    errors: dict[str, TableError] = {}
    first_row_by_id: dict[str, str] = {}
    for clip in clips:
        first_row = first_row_by_id.setdefault(clip.id, clip.row)
        if first_row != clip.row and clip.row not in errors:
            text = f"id `{clip.id}` is already used by {first_row}; {advice}"
            errors[clip.row] = (clip.row, text)
    return list(errors.values())
