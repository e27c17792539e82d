"""MultimodalHugs' `processor` part, written in one of three ways, as one flat section.

Flat keys (2025), the shorthand `pipeline` with `modality_kwargs`, and full `slots` all say the same
for pose to text: what is done to poses, and which tokenizer there is.
"""

from collections.abc import Mapping
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.foreign.section import Section
from kinesweep.sources.columns import NEWEST

_POSE, _TEXT = "PoseModalityProcessor", "TextModalityProcessor"


def flat_processor(values: object) -> Section:
    """All keys of the part beside each other.

    Raises:
        InputError: it reads something else than poses.
    """
    plain: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}
    pipeline = plain.pop("pipeline", "pose2text")
    if pipeline != "pose2text":
        raise _not_poses(f"its processor is `{pipeline}`")
    flat: dict[str, Any] = {}
    for slot in [*plain.pop("slots", []), *_overrides(plain)]:
        kind = slot.get("processor_class", _POSE)
        if kind not in (_POSE, _TEXT):
            raise _not_poses(f"it holds a `{kind}`")
        flat |= slot.get("processor_kwargs") or {}
        renamed = {name for name in slot.get("column_map") or {} if name not in NEWEST}
        if renamed:
            flat["column_map"] = sorted(renamed)
    flat.pop("role", None)
    return Section("processor", {**flat, **plain.pop("modality_kwargs", {}), **plain})


def _overrides(plain: dict[str, Any]) -> list[dict[str, Any]]:
    """The shorthand's patches, as slots."""
    return list((plain.pop("slot_overrides", None) or {}).values())


def _not_poses(why: str) -> InputError:
    return InputError(f"only settings of pose to text can be converted, but {why}")
