"""Reading and checking of JSON that other tools wrote.

Each function raises a `ValueError` that names the place in the file, so that no content of a file
can cause another exception. Strings are not accepted as numbers.

Shapes: J points.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def load_json(path: Path) -> Any:
    """Load a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is empty or not JSON.
    """
    return parse_json(path.read_bytes(), f"`{path.name}`")


def parse_json(content: bytes | str, place: str) -> Any:
    """Parse JSON; bytes may be in UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: If the content is empty or not JSON; the message starts with `place`.
    """
    if not content.strip():
        raise ValueError(f"{place} is empty")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)[:200]
        raise ValueError(f"{place} is not JSON ({reason})") from None


def require_list(value: Any, place: str) -> list[Any]:
    """Return a value that must be a list.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, list):
        raise ValueError(f"{place} must be a list, but is {_describe(value)}")
    return value


def require_mapping(value: Any, place: str) -> dict[str, Any]:
    """Return a value that must be a JSON object.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{place} must be an object, but is {_describe(value)}")
    return value


def parse_integer(value: Any, place: str) -> int:
    """Return a whole number, which may be written as a float such as `3.0`.

    Raises:
        ValueError: If the value is something else.
    """
    # `bool` is a subclass of `int`, and `true` is no number in JSON.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError(f"{place} must be a whole number, but is {_describe(value)}")


def parse_frame_number(value: Any, place: str) -> int:
    """Return the number of a frame, which must be a whole number from 0.

    Raises:
        ValueError: If the value is something else.
    """
    number = parse_integer(value, place)
    if number < 0:
        raise ValueError(f"{place} must be at least 0, but is {number}")
    return number


def parse_numbers(value: Any, place: str) -> NDArray[np.float32]:
    """Return a flat list of finite numbers as float32.

    Raises:
        ValueError: If the value is something else; infinite are also numbers beyond float32.
    """
    numbers = require_list(value, place)
    if not set(map(type, numbers)) <= {int, float}:
        wrong = next(number for number in numbers if type(number) not in (int, float))
        raise ValueError(f"{place} must contain numbers only, but contains {_describe(wrong)}")
    try:
        with np.errstate(over="ignore"):
            array = np.array(numbers, np.float64).astype(np.float32)
    except OverflowError:
        raise ValueError(f"{place} contains a number that is too large") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{place} contains numbers that are not finite")
    return array


def parse_points(value: Any, place: str) -> NDArray[np.float32]:
    """Return a flat list of x, y and confidence of each point as float32 (J, 3).

    Raises:
        ValueError: If the value is something else.
    """
    numbers = parse_numbers(value, place)
    if len(numbers) % 3:
        raise ValueError(
            f"{place} has {len(numbers)} numbers, but each point needs 3 (x, y, confidence)"
        )
    return numbers.reshape(-1, 3)


def _describe(value: Any) -> str:
    """Describe a JSON value shortly, for an error message."""
    names = {dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value)) or f"`{str(value)[:40]}`"
