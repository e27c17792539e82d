"""Values of one row of a data set as texts, numbers and names.

A data set may store a name as the number of a class, an order as 3.0 or a frame rate as "25".
Values that cannot be read give a reason, and the row is counted.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from kinesweep.core.errors import ClipError

_MS_PER_UNIT = {"ms": 1, "s": 1000}


def find_feature(features: Mapping[str, Any], path: str) -> Any:
    """Return the feature of `datasets` at a dotted path, or None if it has none of its own."""
    if path in features:
        return features[path]
    feature: Any = features
    for part in path.split("."):
        item = get_item_feature(feature)
        feature = feature if item is None else item
        feature = feature.get(part) if isinstance(feature, Mapping) else None
    return feature


def get_item_feature(feature: Any) -> Any:
    """Return the feature of the items of a list, or None if the feature is no list."""
    return getattr(feature, "feature", None)


def name_classes(value: Any, feature: Any) -> Any:
    """Return a value with the names of classes instead of their numbers.

    Args:
        value: Value of a row.
        feature: Feature of `datasets` of the value, or None.

    Returns:
        None for a number without a name: -1 marks rows without a label.
    """
    if isinstance(value, list):
        # The values of a field of structs are a list, whose feature is that of one of them.
        item = get_item_feature(feature)
        return [name_classes(part, feature if item is None else item) for part in value]
    names = getattr(feature, "names", None)
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def make_text(value: Any) -> str:
    """Return a value as a text: a list joined by spaces, None as an empty text."""
    if isinstance(value, list):
        return " ".join(make_text(item) for item in value)
    return "" if value is None else str(value)


def get_stem(media: Any) -> str:
    """Return the name of the file that a row names, without its suffix; empty without one."""
    path = media.get("path") if isinstance(media, Mapping) else media
    return PurePosixPath(path).stem if isinstance(path, str) else ""


def parse_time(text: str, time_unit: str) -> float:
    """Parse a time and return it in milliseconds; an empty text is 0.

    Raises:
        ValueError: If it is no time of 0 or more.
    """
    try:
        time = float(text or 0)
    except ValueError:
        raise ValueError("invalid_time") from None
    if not 0 <= time < float("inf"):
        raise ValueError("invalid_time")
    return round(time * _MS_PER_UNIT[time_unit], 6)


def parse_order(text: str) -> int:
    """Parse the position of a clip in its document; an empty text is 0.

    Raises:
        ValueError: If it is no whole number of 0 or more.
    """
    try:
        # A column of whole numbers with gaps is often stored as numbers such as 3.0.
        order = float(text or 0)
    except ValueError:
        raise ValueError("invalid_order") from None
    if not order.is_integer() or order < 0:
        raise ValueError("invalid_order")
    return int(order)


def parse_fps(value: Any, default: float | None) -> float | None:
    """Return the frame rate of a row, or the default if the row has none.

    Raises:
        ClipError: With reason `bad_fps` if the row has another value than a rate.
    """
    if value is None or value == "":
        return default
    try:
        fps = float(value)
    except (ValueError, TypeError):
        fps = 0
    if not 0 < fps < float("inf"):
        raise ClipError(f"the frame rate must be above 0, but is `{value}`", "bad_fps")
    return fps
