"""Installed parts: the entry points of other packages, looked up only when a `kind` is not ours.

A part is identified by its group and its `kind`, the name of the entry point. Looking up all entry
points takes about 30 ms for 250 packages, so the result is kept until a folder on `sys.path`
changes.
"""

import os
import re
import sys
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kinesweep.config.parts.part_config import PART_GROUPS, PartConfig, run_import
from kinesweep.core.errors import InputError


@dataclass(frozen=True)
class InstalledPart:
    """A part of an installed package, which is not imported yet.

    Attributes:
        group: Entry-point group.
        kind: Name of the entry point, by which recipes select the part.
        package: Name of the distribution.
        version: Version of the distribution.
        requirements: Requirements of the distribution.
        entry_point: Entry point, whose value is the configuration class.
    """

    group: str
    kind: str
    package: str
    version: str
    requirements: tuple[str, ...] = ()
    entry_point: EntryPoint | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"the part `{self.kind}` ({self.group}) of {self.package} {self.version}"

    @property
    def requirement(self) -> str:
        """Return the requirement by which pip installs the package."""
        return f"{self.package}=={self.version}"

    def is_of_package(self, package: str) -> bool:
        """Return whether the part belongs to a package, whose name may be written differently."""
        return _normalize_name(self.package) == _normalize_name(package)

    def to_json(self) -> dict[str, Any]:
        """Return the part as plain values, for manifests."""
        values = asdict(self)
        del values["entry_point"]
        return {**values, "requirements": list(self.requirements)}


def list_installed_parts(group: str | None = None) -> list[InstalledPart]:
    """List the installed parts of a group, or of all groups, without importing them.

    Args:
        group: Entry-point group; None: all groups.
    """
    # The modification times show packages that were installed since.
    folders = tuple((folder, _get_mtime_ns(folder or ".")) for folder in sys.path)
    parts = _scan_entry_points(folders)
    return [part for part in parts if group is None or part.group == group]


def find_installed_part(group: str, kind: str) -> InstalledPart | None:
    """Find the installed part with a `kind`; None if no package has one.

    Args:
        group: Entry-point group.
        kind: Name of the entry point.

    Raises:
        InputError: If several packages have a part with this name.
    """
    parts = [part for part in list_installed_parts(group) if part.kind == kind]
    if len(parts) > 1:
        packages = " and ".join(f"{part.package} {part.version}" for part in parts)
        raise InputError(
            f"`{kind}` ({group}) is a part of several packages: {packages}; uninstall all but one"
        )
    return parts[0] if parts else None


def load_part_config(part: InstalledPart) -> type[PartConfig]:
    """Import the configuration class of an installed part and check it.

    Raises:
        InputError: If it cannot be imported or is not a configuration class for this part.
    """
    assert part.entry_point is not None
    value = part.entry_point.value
    try:
        config_class = run_import(part.entry_point.load)
    except ImportError as error:
        raise InputError(f"{part} cannot be imported from `{value}`: {error}") from None
    is_config = isinstance(config_class, type) and issubclass(config_class, PartConfig)
    if not is_config or config_class.group != part.group:
        raise InputError(
            f"{part}: `{value}` is not a configuration of this group; inherit from its base class"
            " (see docs/parts.md)"
        )
    default_kind = config_class.model_fields["kind"].default
    if default_kind != part.kind:
        raise InputError(
            f"{part}: `{value}` has the `kind` {default_kind!r}; declare"
            f' `kind: Literal["{part.kind}"] = "{part.kind}"`'
        )
    return config_class


def _get_mtime_ns(folder: str) -> int:
    """Return the modification time of a folder or file in nanoseconds; 0 if it does not exist."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


# One entry: after an installation, the former state does not come back.
@lru_cache(maxsize=1)
def _scan_entry_points(folders: tuple[tuple[str, int], ...]) -> tuple[InstalledPart, ...]:
    """Read the entry points of all groups from the packages in `sys.path`.

    Args:
        folders: Folders of `sys.path` with their modification times, which the result depends on.
    """
    points = entry_points()
    # An editable installation can be found twice, beside its build folder.
    parts = {
        (group, point.name, _normalize_name(part.package)): part
        for group in PART_GROUPS.values()
        for point in points.select(group=group)
        for part in [_describe_entry_point(group, point)]
    }
    return tuple(parts.values())


def _describe_entry_point(group: str, point: EntryPoint) -> InstalledPart:
    """Describe the part that an entry point names, without importing it.

    Args:
        group: Entry-point group.
        point: Entry point of the group.
    """
    package = point.dist
    metadata: Any = {} if package is None else package.metadata
    return InstalledPart(
        group=group,
        kind=point.name,
        package=str(metadata.get("Name") or "an unnamed package"),
        version=str(metadata.get("Version") or "0"),
        requirements=tuple((package.requires if package else None) or ()),
        entry_point=point,
    )


def _normalize_name(package: str) -> str:
    """Return a package name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", package).lower()
