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
    """Read a file that contains one JSON object, and return the object and the errors.

    If the file cannot be read, the object is empty and the list contains one error; otherwise the
    list is empty. Repeated keys are not errors here; `JsonObject.repeated_keys` lists them.

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
    """Parse the JSON object in a file, and return the object and its encoding or syntax error.

    Raises:
        OSError: If the file cannot be read.
        RecursionError: If the JSON is nested too deeply.
    """
    content = path.read_bytes()
    # Decoding would only report the first byte, with advice for Latin-1.
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return JsonObject([]), [
            (name, f"is UTF-16, not UTF-8; {format_conversion_command(path, 'utf-16')}")
        ]
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        # Only this hook sees all pairs; a plain dictionary has already lost repeated keys.
        value = json.loads(text, object_pairs_hook=_build_json_object)
    except UnicodeDecodeError as error:
        line_number = content.count(b"\n", 0, error.start) + 1
        message = f"byte {error.start + 1} of the file (0x{content[error.start]:02x}) is not UTF-8"
        return JsonObject([]), [
            (f"{name}:{line_number}", f"{message}; {format_conversion_command(path, 'latin1')}")
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
    """Build a `JsonObject` from all key-value pairs of an object in a JSON file."""
    return JsonObject(pairs)


def describe_json_type(value: object) -> str:
    """Describe the type of a parsed JSON value for error messages, for example `a string`."""
    descriptions = {str: "a string", list: "a list", JsonObject: "an object", bool: "a boolean"}
    return "null" if value is None else descriptions.get(type(value), "a number")
