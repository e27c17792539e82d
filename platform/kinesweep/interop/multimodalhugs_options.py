"""The table of all options of MultimodalHugs and its pipelines, and where they are in Kinesweep.

The table is a file beside this module with one option per line. `kinesweep convert` explains with
it what it leaves out, and `docs/multimodalhugs.md` shows it.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PATH = Path(__file__).with_name("multimodalhugs_options.tsv")
STATUSES = ("same", "other name", "refused", "not needed")
"""Values of the column `status`: what became of an option."""


@dataclass(frozen=True)
class Option:
    """An option of MultimodalHugs or its pipelines.

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
def read_options() -> tuple[Option, ...]:
    """Read the table of all options, in its order."""
    with _PATH.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return tuple(Option(*row) for row in rows[1:])


def explain_unsupported_key(key: str, class_name: str = "") -> str:
    """Return the reason why a key of MultimodalHugs is not converted.

    Args:
        key: Dotted key of the setting.
        class_name: Class that the setting is for, such as `PoseModalityProcessor`; empty: none.

    Returns:
        Text that continues the line `KEY: VALUE, REASON`; for an unknown key, that it is unknown.
    """
    section, _, name = key.rpartition(".")
    options = [option for option in read_options() if name == option.name]
    # Options of different sections may have one name; class and section of the key decide.
    of_class = [option for option in options if class_name and class_name in option.group]
    own = [option for option in options if option.group.startswith(section.split(".")[0])]
    for option in of_class or own or options:
        place = "" if option.here == "–" else f" ({option.here})"
        # An option with an equivalent is left over where the model has no such part: a model that
        # translates texts, for example, has no mapper.
        reason = (
            "which these inputs do not use" if option.reason == "same meaning" else option.reason
        )
        return f"{reason}{place}"
    return "which is an unknown key"


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
