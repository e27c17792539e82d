"""A strict reader for JSON files that hold one object; it returns the errors with the content.

Files must be UTF-8 (a byte order mark is accepted); other encodings are reported, never guessed.
Repeated keys are recorded, because parsers silently keep the last one: a clip would get the text of
another.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from kinesweep.sources.tsv.tsv_reader import TableError, format_conversion_command


class JsonObject(dict[str, Any]):
    """A JSON object that records repeated keys.

    Attributes:
        repeated_keys: Keys that appear more than once.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        # A dictionary keeps the last value of a repeated key; if it lost none, counting is skipped.
        counts = Counter(key for key, _ in pairs) if len(self) < len(pairs) else {}
        self.repeated_keys = tuple(key for key, count in counts.items() if count > 1)


def read_json_object(path: Path, name: str) -> tuple[JsonObject, list[TableError]]:
    """Read a JSON object; if that fails, return an empty object and the error.

    Args:
        path: Path of the file.
        name: Name of the file in error messages.
    """
    try:
        return _parse_json_object(path, name)
    except FileNotFoundError:
        message = f"`{path}` does not exist"
    except IsADirectoryError:
        message = f"`{path}` is a folder, not a file"
    except (OSError, RecursionError) as error:  # RecursionError: JSON nested too deeply
        message = f"`{path}` cannot be read: {error}"
    return JsonObject([]), [(name, message)]


def _parse_json_object(path: Path, name: str) -> tuple[JsonObject, list[TableError]]:
    """Parse a JSON object; return encoding and syntax errors with their line."""
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return JsonObject([]), [
            (name, f"is UTF-16, not UTF-8; {format_conversion_command(path, 'utf-16')}")
        ]
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        # Only this hook sees all pairs; a plain dictionary has already lost repeated keys.
        value = json.loads(text, object_pairs_hook=_build_json_object)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"byte {error.start + 1} of the file (0x{content[error.start]:02x}) is not UTF-8"
        return JsonObject([]), [
            (f"{name}:{line}", f"{message}; {format_conversion_command(path, 'latin1')}")
        ]
    except json.JSONDecodeError as error:
        message = f"is not valid JSON at column {error.colno}: {error.msg}"
        return JsonObject([]), [(f"{name}:{error.lineno}", message)]
    if not isinstance(value, JsonObject):
        return JsonObject([]), [
            (name, f"holds {describe_json_type(value)}, but must hold an object")
        ]
    return value, []


def _build_json_object(pairs: list[tuple[str, Any]]) -> JsonObject:
    """Build an object from the pairs that the JSON parser found."""
    return JsonObject(pairs)


def describe_json_type(value: object) -> str:
    """Describe the type of a JSON value for error messages."""
    kinds = {str: "a string", list: "a list", JsonObject: "an object", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")
