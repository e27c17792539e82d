"""A section of another system's settings that tracks which keys have been read."""

from collections.abc import Mapping
from typing import Any


class Section:
    """A mapping whose keys are removed when they are read, so that unread keys can be reported.

    Args:
        name: Name of the section, for reports.
        values: Keys and values; anything but a mapping is treated as empty.
    """

    def __init__(self, name: str, values: object) -> None:
        self.name = name
        self._left: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}

    def take(self, *names: str, default: Any = None) -> Any:
        """Remove several names and return the first value among them that is not None.

        Args:
            *names: Alternative names of one setting, such as current and former ones.
            default: Value if none of the names has a value.
        """
        # All of them are removed, so that no alternative name is reported as unread.
        found = [self._left.pop(name) for name in names if name in self._left]
        # A null in YAML counts as missing, so that an alternative name or the default applies.
        given = [value for value in found if value is not None]
        return given[0] if given else default

    def part(self, name: str) -> "Section":
        """Remove a nested mapping and return it as a section."""
        return Section(f"{self.name}.{name}", self._left.pop(name, None))

    def left(self) -> dict[str, Any]:
        """Return dotted key → value of everything that was not read."""
        return {f"{self.name}.{key}": value for key, value in self._left.items()}
