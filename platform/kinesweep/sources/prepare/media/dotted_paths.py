"""Values at dotted paths in the rows of a data set, such as `translation.de`."""

from collections.abc import Mapping
from typing import Any


def get_value(row: Any, path: str) -> Any:
    """Return the value at a dotted path of a row, or None if there is none.

    The field of a list of structs is the list of its values.
    """
    if isinstance(row, Mapping) and path in row:
        return row[path]  # a column whose name contains a dot
    for part in path.split("."):
        row = _get_field(row, part)
    return row


def _get_field(value: Any, name: str) -> Any:
    """Return a field of a struct or of each struct of a list, or None if there is none."""
    if isinstance(value, list):
        return [_get_field(item, name) for item in value]
    return value.get(name) if isinstance(value, Mapping) else None
