"""Flattening of MultimodalHugs' `processor` section, which exists in three forms.

Flat keys (2025), the shorthand `pipeline` with `modality_kwargs`, and full `slots` are equivalent
for pose-to-text models: they configure the processing of poses and the tokenizer.
"""

from collections.abc import Mapping
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.interop.settings_section import SettingsSection
from kinesweep.sources.tsv.tsv_columns import MEANING_BY_NAME

_POSE_PROCESSOR, _TEXT_PROCESSOR = "PoseModalityProcessor", "TextModalityProcessor"


def flatten_processor(values: object) -> SettingsSection:
    """Flatten the `processor` section to a section with all of its keys at one level.

    Args:
        values: The `processor` section in any of its forms; any object but a mapping is treated as
            an empty section.

    Raises:
        InputError: If the processor is not a pose-to-text processor.
    """
    settings: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}
    # Settings without a pipeline are checked by the classes of their slots, below.
    pipeline = settings.pop("pipeline", "pose2text")
    if pipeline != "pose2text":
        raise _make_unsupported_task_error(f"its processor is `{pipeline}`")
    flat_settings: dict[str, Any] = {}
    for slot in [*settings.pop("slots", []), *_pop_slot_overrides(settings)]:
        kind = slot.get("processor_class", _POSE_PROCESSOR)
        if kind not in (_POSE_PROCESSOR, _TEXT_PROCESSOR):
            raise _make_unsupported_task_error(f"it contains a `{kind}`")
        flat_settings |= slot.get("processor_kwargs") or {}
        # Columns with standard names need no mapping; renamed ones are reported as not converted.
        renamed_columns = {
            name for name in slot.get("column_map") or {} if name not in MEANING_BY_NAME
        }
        if renamed_columns:
            flat_settings["column_map"] = sorted(renamed_columns)
    # The role of a slot (input, target) has no meaning in a flat section.
    flat_settings.pop("role", None)
    # Keys at the outer level take precedence over those of slots and of the shorthand.
    return SettingsSection(
        "processor", {**flat_settings, **settings.pop("modality_kwargs", {}), **settings}
    )


def _pop_slot_overrides(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Remove the overrides of the shorthand from the settings and return them as slots."""
    return list((settings.pop("slot_overrides", None) or {}).values())


def _make_unsupported_task_error(reason: str) -> InputError:
    """Make the error for settings of a task other than pose-to-text.

    Args:
        reason: Clause that says how the settings show another task.
    """
    return InputError(f"only settings of pose-to-text models can be converted, but {reason}")
