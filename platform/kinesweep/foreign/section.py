"""One part of another system's settings: keys are taken out, what is left over is reported."""

from collections.abc import Mapping
from typing import Any


class Section:
    """A mapping whose keys are taken one by one.

    Args:
        name: of the part, for reports.
        values: its keys; anything but a mapping counts as empty.
    """

    def __init__(self, name: str, values: object) -> None:
        self.name = name
        self._left: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}

    def take(self, *names: str, default: Any = None) -> Any:
        """The value of the first of these names that is there; the others count as taken too."""
        found = [self._left.pop(name) for name in names if name in self._left]
        given = [value for value in found if value is not None]
        return given[0] if given else default

    def part(self, name: str) -> "Section":
        """A mapping inside, as a section of its own."""
        return Section(f"{self.name}.{name}", self._left.pop(name, None))

    def left(self) -> dict[str, Any]:
        """Dotted key → value of what nobody took."""
        return {f"{self.name}.{key}": value for key, value in self._left.items()}
