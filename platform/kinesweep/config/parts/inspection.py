"""Inspection of installed parts for `kinesweep doctor`: whether each loads and fits its group.

The whole contract of a group is its conformance suite in `kinesweep.testing`. This is the part of
it that needs no data: what the class must have so that a run does not fail at its first use.
"""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from kinesweep.config.parts.installed_parts import (
    InstalledPart,
    find_installed_part,
    load_part_config,
)
from kinesweep.config.parts.part_config import run_import
from kinesweep.core.errors import InputError

REQUIRED_METHODS: Mapping[str, tuple[str, ...]] = {
    "kinesweep.sources": ("read_clips", "read_file", "list_clips"),
    "kinesweep.features": ("compute_features", "estimate_shapes"),
    "kinesweep.encoders": ("forward", "set_statistics"),
    "kinesweep.backbones": ("create_model", "compute_logits", "embed_tokens", "generate"),
    "kinesweep.losses": ("forward",),
    "kinesweep.metrics": ("compute", "compute_clip_statistics", "compute_score_from_sum"),
    "kinesweep.samplers": ("sample_independent",),
}
"""Group → methods that an implementation must have."""


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
    problem = _find_implementation_problem(part.group, implementation)
    return f"`{config_class.implementation}` {problem}" if problem else ""


def _find_implementation_problem(group: str, implementation: Any) -> str:
    """Find what an implementation lacks; an empty text if it has all that its group needs."""
    if not callable(implementation):
        return "is not callable"
    # A function may return an object of any class, which is known only when it is called.
    if not inspect.isclass(implementation):
        return ""
    missing = [
        name
        for name in REQUIRED_METHODS.get(group, ())
        if not callable(getattr(implementation, name, None))
    ]
    missing += sorted(getattr(implementation, "__abstractmethods__", ()))
    return f"has no {', '.join(dict.fromkeys(missing))}" if missing else ""


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
