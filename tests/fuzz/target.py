"""One reader that is fuzzed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: how it is called in the table.
        make: writes a valid folder.
        mutated: patterns of the files that are mutated, one of them each time.
        read: reads the folder, writes to its `out` at most, and returns what was wrong in it.
        is_slow: whether it takes part in the long form only.
        names_paths: whether its author may name files of any folder, as in a recipe.
    """

    name: str
    make: Callable[[Path], None]
    mutated: tuple[str, ...]
    read: Callable[[Path], object]
    is_slow: bool = False
    names_paths: bool = False
