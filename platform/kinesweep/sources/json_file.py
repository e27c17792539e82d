"""A JSON file that holds one object, with what is wrong with it; nothing is guessed.

UTF-8 (a byte order mark is tolerated). A key that comes twice is a fault: parsers keep the last one
and say nothing, so a clip would have the text of another.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from kinesweep.sources.table import Fault, how_to_convert


class Object(dict[str, Any]):
    """A JSON object that knows which of its keys came more than once.

    Attributes:
        repeated: these keys.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs) if len(self) < len(pairs) else {}
        self.repeated = tuple(key for key, count in counts.items() if count > 1)


def read_object(path: Path, name: str) -> tuple[Object, list[Fault]]:
    """Reads a file; an empty object and the fault where it cannot be read.

    Args:
        path: the file.
        name: how messages call it.
    """
    try:
        return _parse(path, name)
    except FileNotFoundError:
        fault = f"`{path}` does not exist"
    except IsADirectoryError:
        fault = f"`{path}` is a folder, not a file"
    except (OSError, RecursionError) as error:
        fault = f"`{path}` cannot be read: {error}"
    return Object([]), [(name, fault)]


def _parse(path: Path, name: str) -> tuple[Object, list[Fault]]:
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Object([]), [(name, f"is UTF-16, not UTF-8; {how_to_convert(path, 'utf-16')}")]
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        found = json.loads(text, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        why = f"byte {error.start + 1} of the file (0x{content[error.start]:02x}) is not UTF-8"
        return Object([]), [(f"{name}:{line}", f"{why}; {how_to_convert(path, 'latin1')}")]
    except json.JSONDecodeError as error:
        why = f"is no JSON at column {error.colno}: {error.msg}"
        return Object([]), [(f"{name}:{error.lineno}", why)]
    if not isinstance(found, Object):
        return Object([]), [(name, f"holds {kind_of(found)}, but must hold an object")]
    return found, []


def _object(pairs: list[tuple[str, Any]]) -> Object:
    return Object(pairs)


def kind_of(value: object) -> str:
    """What a JSON value is, in JSON's words."""
    kinds = {str: "a text", list: "a list", Object: "an object", bool: "a truth value"}
    return "null" if value is None else kinds.get(type(value), "a number")
