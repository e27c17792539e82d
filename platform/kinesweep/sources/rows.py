"""What the rows of tables amount to: clips, countable problems, faults; and ids that are unique."""

from dataclasses import dataclass, field

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.sources.table import Fault


@dataclass
class Rows:
    """What the rows of a table, or of several, amount to.

    Attributes:
        clips: usable rows, in order.
        problems: rows that are not.
        apart: clips of those, where others may be compared with them.
        faults: what is wrong with the tables.
        unnamed: rows of clips that have no `id` of their own.
        lines: row → its place among all of its table, where rows have no numbers.
    """

    clips: list[Clip] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    apart: list[Clip] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unnamed: set[str] = field(default_factory=set)
    lines: dict[str, int] = field(default_factory=dict)


def duplicate_ids(clips: list[Clip], advice: str) -> list[Fault]:
    """A fault for each row with an id that was seen before; ids must be unique over all splits.

    Args:
        clips: of all splits.
        advice: what to do about it.
    """
    faults: dict[str, Fault] = {}
    name_of_first: dict[str, str] = {}
    for clip in clips:
        first = name_of_first.setdefault(clip.id, clip.row)
        if first != clip.row and clip.row not in faults:
            text = f"id `{clip.id}` is already that of {first}; {advice}"
            faults[clip.row] = (clip.row, text)
    return list(faults.values())
