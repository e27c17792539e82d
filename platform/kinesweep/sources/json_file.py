"""A strict reader for JSON files that hold one object; it returns the errors with the content.

Files must be UTF-8 (a byte order mark is accepted); other encodings are reported, never guessed.
Repeated keys are recorded, because parsers silently keep the last one: a clip would get the text of
another.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from kinesweep.sources.tsv.tsv_reader import TableError, how_to_convert


class Object(dict[str, Any]):
    """A JSON object that records repeated keys.

    Attributes:
        repeated: Keys that appear more than once.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        # A dictionary keeps the last value of a repeated key; if it lost none, counting is skipped.
        counts = Counter(key for key, _ in pairs) if len(self) < len(pairs) else {}
        self.repeated = tuple(key for key, count in counts.items() if count > 1)


def read_object(path: Path, name: str) -> tuple[Object, list[TableError]]:
    """Read a JSON object; if that fails, return an empty object and the error.

    Args:
        path: Path of the file.
        name: Name of the file in error messages.
    """
    try:
        return _parse(path, name)
    except FileNotFoundError:
        fault = f"`{path}` does not exist"
    except IsADirectoryError:
        fault = f"`{path}` is a folder, not a file"
    except (OSError, RecursionError) as error:  # RecursionError: JSON nested too deeply
        fault = f"`{path}` cannot be read: {error}"
    return Object([]), [(name, fault)]


def _parse(path: Path, name: str) -> tuple[Object, list[TableError]]:
    """Parse a file; encoding and syntax errors are returned with their line."""
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Object([]), [(name, f"is UTF-16, not UTF-8; {how_to_convert(path, 'utf-16')}")]
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        # Only this hook sees all pairs; a plain dictionary has already lost repeated keys.
        found = json.loads(text, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        why = f"byte {error.start + 1} of the file (0x{content[error.start]:02x}) is not UTF-8"
        return Object([]), [(f"{name}:{line}", f"{why}; {how_to_convert(path, 'latin1')}")]
    except json.JSONDecodeError as error:
        why = f"is not valid JSON at column {error.colno}: {error.msg}"
        return Object([]), [(f"{name}:{error.lineno}", why)]
    if not isinstance(found, Object):
        return Object([]), [(name, f"holds {kind_of(found)}, but must hold an object")]
    return found, []


def _object(pairs: list[tuple[str, Any]]) -> Object:
    """Build an object from the pairs that the JSON parser found."""
    return Object(pairs)


def kind_of(value: object) -> str:
    """Return the type of a JSON value, for error messages."""
    kinds = {str: "a string", list: "a list", Object: "an object", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")
