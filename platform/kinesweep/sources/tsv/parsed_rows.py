"""The result of parsing tables: clips, counted problems and errors; and a check for unique ids."""

from dataclasses import dataclass, field

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.sources.tsv.tsv_reader import TableError


@dataclass
class ParsedRows:
    """The parsed rows of one or several tables.

    Attributes:
        clips: Clips of the usable rows, in order.
        problems: Rows that are well formed but unusable.
        reference_only_clips: Clips of unusable rows that other clips may still name as reference.
        errors: Errors in the tables; any of them makes the corpus unreadable.
        rows_without_id: Rows of clips without a value in the column `id`.
        row_positions: Row → position in its file, for formats without line numbers.
    """

    clips: list[Clip] = field(default_factory=list)
    problems: list[InvalidRow] = field(default_factory=list)
    reference_only_clips: list[Clip] = field(default_factory=list)
    errors: list[TableError] = field(default_factory=list)
    rows_without_id: set[str] = field(default_factory=set)
    row_positions: dict[str, int] = field(default_factory=dict)


def find_duplicate_ids(clips: list[Clip], advice: str) -> list[TableError]:
    """Find rows whose id is already used in any split, and return one error for each row.

    Args:
        clips: Clips of all splits.
        advice: Instruction that ends the message.
    """
    # One error per row: a row may give several clips (one per epoch), which all repeat together.
    errors: dict[str, TableError] = {}
    first_row_by_id: dict[str, str] = {}
    for clip in clips:
        first = first_row_by_id.setdefault(clip.id, clip.row)
        if first != clip.row and clip.row not in errors:
            text = f"id `{clip.id}` is already used by {first}; {advice}"
            errors[clip.row] = (clip.row, text)
    return list(errors.values())
