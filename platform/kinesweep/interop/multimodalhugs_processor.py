"""Flattening of MultimodalHugs' `processor` section, which exists in three forms.

Flat keys (2025), the shorthand `pipeline` with `modality_kwargs`, and full `slots` are equivalent
for pose-to-text models: they configure the processing of poses and the tokenizer.
"""

from collections.abc import Mapping
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.interop.config_reader import Section
from kinesweep.sources.tsv.tsv_columns import NEWEST

_POSE, _TEXT = "PoseModalityProcessor", "TextModalityProcessor"


def flat_processor(values: object) -> Section:
    """Return all keys of the section at one level.

    Args:
        values: The `processor` section in any of its forms; anything but a mapping is empty.

    Raises:
        InputError: If the processor is not a pose-to-text processor.
    """
    plain: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}
    # Settings without a pipeline are judged by the classes of their slots, below.
    pipeline = plain.pop("pipeline", "pose2text")
    if pipeline != "pose2text":
        raise _not_poses(f"its processor is `{pipeline}`")
    flat: dict[str, Any] = {}
    for slot in [*plain.pop("slots", []), *_overrides(plain)]:
        kind = slot.get("processor_class", _POSE)
        if kind not in (_POSE, _TEXT):
            raise _not_poses(f"it contains a `{kind}`")
        flat |= slot.get("processor_kwargs") or {}
        # Columns with standard names need no mapping; renamed ones are reported as not converted.
        renamed = {name for name in slot.get("column_map") or {} if name not in NEWEST}
        if renamed:
            flat["column_map"] = sorted(renamed)
    flat.pop("role", None)  # the role of a slot (input, target) has no meaning in a flat section
    # Keys at the outer level take precedence over those of slots and of the shorthand.
    return Section("processor", {**flat, **plain.pop("modality_kwargs", {}), **plain})


def _overrides(plain: dict[str, Any]) -> list[dict[str, Any]]:
    """Remove the overrides of the shorthand from the section and return them as slots."""
    return list((plain.pop("slot_overrides", None) or {}).values())


def _not_poses(why: str) -> InputError:
    """Return the error for settings of other tasks."""
    return InputError(f"only settings of pose-to-text models can be converted, but {why}")
