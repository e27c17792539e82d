"""Inspection of installed parts for `kinesweep doctor`: whether each loads and fits its group.

The whole contract of a group is its conformance suite in `kinesweep.testing`. This is the part of
it that needs no data: what the class must have so that a run does not fail at its first use.
"""

from collections.abc import Collection

from kinesweep.config.parts.building import find_implementation_problem
from kinesweep.config.parts.installed_parts import (
    InstalledPart,
    find_installed_part,
    load_part_config,
)
from kinesweep.config.parts.part_config import run_import
from kinesweep.core.errors import InputError


def find_part_problem(part: InstalledPart, our_kinds: Collection[str] = ()) -> str:
    """Find the reason why an installed part cannot be used; an empty text if there is none.

    Imports the configuration and the implementation of the part.

    Args:
        part: An installed part.
        our_kinds: Our own kinds of its group, which take precedence.
    """
    if part.kind in our_kinds:
        return f"{part} is hidden by our own kind of this name; rename the entry point"
    if part.group == "kinesweep.estimators":
        return _find_estimator_problem(part)
    try:
        find_installed_part(part.group, part.kind)
        config_class = load_part_config(part)
        implementation = config_class.import_implementation()
    except InputError as error:
        return str(error)
    if undescribed := [
        name
        for name, field in config_class.model_fields.items()
        if name != "kind" and not field.description
    ]:
        return f"settings without a description: {', '.join(undescribed)}"
    problem = find_implementation_problem(config_class, implementation)
    return f"`{config_class.implementation}` {problem}" if problem else ""


def _find_estimator_problem(part: InstalledPart) -> str:
    """Find the reason why an estimator cannot be used; its entry point names the class itself."""
    assert part.entry_point is not None
    try:
        estimator_class = run_import(part.entry_point.load)
        missing = [
            name
            for name in ("version", "requirements", "__call__")
            if not hasattr(estimator_class, name)
        ]
    except ImportError as error:
        return f"{part} cannot be imported: {error}"
    return f"`{part.entry_point.value}` has no {', '.join(missing)}" if missing else ""
