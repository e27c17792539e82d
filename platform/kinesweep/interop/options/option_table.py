"""Tables of all options of other systems, and where each of them is in Kinesweep.

A table is a file beside this module, named after its system, with one option per line: 1,200 in
all. The pages of the systems in `docs` show them; `kinesweep convert` explains with the table of
MultimodalHugs what it leaves out.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SYSTEMS = ("multimodalhugs", "ssvp_slt", "signllava", "coachme")
"""Systems with a table, by the names of their files."""

STATUSES = ("same", "other name", "refused", "not needed")
"""Values of the column `status`: what became of an option."""


@dataclass(frozen=True)
class Option:
    """An option of another system.

    Attributes:
        group: Section of a settings file, class, or command that has the option.
        name: Name of the option.
        status: One of `STATUSES`.
        here: Key or command that does the same; a dash if there is none.
        reason: Difference in meaning, or reason why there is no equivalent.
    """

    group: str
    name: str
    status: str
    here: str
    reason: str


@cache
def read_options(system: str) -> tuple[Option, ...]:
    """Read the table of a system, in its order.

    Args:
        system: One of `SYSTEMS`.
    """
    path = Path(__file__).with_name(f"{system}.tsv")
    with path.open(encoding="utf-8", newline="") as file:
        # Cells are written as they are: quotation marks are part of a reason.
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return tuple(Option(*row) for row in rows[1:])


def format_option_tables(options: Sequence[Option]) -> str:
    """Format options as Markdown, one table for each group.

    Args:
        options: Options, those of a group one after the other.
    """
    lines: list[str] = []
    for group in dict.fromkeys(option.group for option in options):
        lines += ["", f"### {group}", "", "| Option | Status | Here | Reason or difference |"]
        lines += ["|---|---|---|---|"]
        for option in options:
            if option.group == group:
                cells = (f"`{option.name}`", option.status, option.here, option.reason)
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines).strip() + "\n"
