"""Values at dotted paths in the rows of a data set, such as `translation.de`."""

from collections.abc import Mapping
from typing import Any


def get_value(row: Any, path: str) -> Any:
    """Return the value at a dotted path of a row, or None if there is none."""
    # The name of a column may itself contain a dot.
    if isinstance(row, Mapping) and path in row:
        return row[path]
    for part in path.split("."):
        row = row.get(part) if isinstance(row, Mapping) else None
    return row
