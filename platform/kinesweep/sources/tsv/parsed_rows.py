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
        apart: Clips of unusable rows that other clips may still name as their reference.
        faults: Errors in the tables; any of them makes the corpus unreadable.
        unnamed: Rows of clips that have no `id` of their own.
        lines: Row → position in its file, for formats without line numbers.
    """

    clips: list[Clip] = field(default_factory=list)
    problems: list[InvalidRow] = field(default_factory=list)
    apart: list[Clip] = field(default_factory=list)
    faults: list[TableError] = field(default_factory=list)
    unnamed: set[str] = field(default_factory=set)
    lines: dict[str, int] = field(default_factory=dict)


def duplicate_ids(clips: list[Clip], advice: str) -> list[TableError]:
    """Return an error for each row whose id occurred before; ids must be unique over all splits.

    Args:
        clips: Clips of all splits.
        advice: Instruction that ends the message.
    """
    # One error per row: a row may give several clips (one per epoch), which all repeat together.
    faults: dict[str, TableError] = {}
    name_of_first: dict[str, str] = {}
    for clip in clips:
        first = name_of_first.setdefault(clip.id, clip.row)
        if first != clip.row and clip.row not in faults:
            text = f"id `{clip.id}` is already used by {first}; {advice}"
            faults[clip.row] = (clip.row, text)
    return list(faults.values())
