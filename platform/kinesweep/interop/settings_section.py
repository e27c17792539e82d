"""A section of another system's settings, which remembers the keys that have not been read."""

from collections.abc import Mapping
from typing import Any


class SettingsSection:
    """A mapping whose keys are removed when they are read, so that unread keys can be reported.

    Args:
        name: Name of the section, for reports.
        values: Mapping from keys to values; any other object is treated as an empty mapping.
    """

    def __init__(self, name: str, values: object) -> None:
        self.name = name
        self._unread: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}

    def pop_setting(self, *names: str, default: Any = None) -> Any:
        """Remove a setting under all of its names and return its first value that is not None.

        Args:
            *names: Alternative names of one setting, such as current and former ones. The value of
                an earlier name takes precedence.
            default: Value to return if none of the names has a value.
        """
        # All of them are removed, so that no alternative name is reported as unread.
        values = [self._unread.pop(name) for name in names if name in self._unread]
        # A null in YAML counts as missing, so that an alternative name or the default applies.
        non_null_values = [value for value in values if value is not None]
        return non_null_values[0] if non_null_values else default

    def peek_setting(self, name: str) -> Any:
        """Return the value of a setting without removing it; None if it is missing."""
        return self._unread.get(name)

    def restore_setting(self, name: str, value: Any) -> None:
        """Put a setting back that turned out to have no equivalent, so that it is reported."""
        self._unread[name] = value

    def pop_section(self, name: str) -> "SettingsSection":
        """Remove a nested section and return it; it is empty if there is no such section."""
        return SettingsSection(f"{self.name}.{name}", self._unread.pop(name, None))

    def get_unread_settings(self) -> dict[str, Any]:
        """Return the settings that have not been read, as a mapping from dotted key to value."""
        return {f"{self.name}.{key}": value for key, value in self._unread.items()}
