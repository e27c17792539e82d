"""Recipes and search spaces that come with Kinesweep: list them, copy them.

In an installed package they lie in `kinesweep/shipped`, where `setup.py` puts them; in a clone or
an editable installation they are read from the folders at the top of the repository. Both have the
same subfolders, so the relative paths inside the files are valid in both and in every copy.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError
from kinesweep.core.io import write_text

_PACKAGE_DIR = Path(__file__).resolve().parents[1]
_FOLDERS = {"recipe": Path("jobs/recipes"), "space": Path("search_spaces")}
"""Kind of file → its folder below the root of all shipped files."""


@dataclass(frozen=True)
class ShippedFile:
    """A recipe or search space that comes with Kinesweep.

    Attributes:
        path: Path relative to the root of all shipped files, such as `search_spaces/sample.yaml`.
        kind: `recipe` or `space`.
        summary: The question of a search space; the first sentence of a recipe's first comment.
    """

    path: Path
    kind: str
    summary: str

    @property
    def name(self) -> str:
        """Return the name by which the file is copied, which a recipe and a space may share."""
        return self.path.stem


def find_shipped_root(package_dir: Path = _PACKAGE_DIR) -> Path:
    """Return the folder that contains the shipped recipes and search spaces.

    Args:
        package_dir: Folder of the package.

    Raises:
        InputError: If the installation contains none, as a package that Ray distributes.
    """
    # A clone comes first: `shipped` beside its modules could only be a stale copy.
    for root in (package_dir.parents[1], package_dir / "shipped"):
        if all((root / folder).is_dir() for folder in _FOLDERS.values()):
            return root
    raise InputError(
        f"`{package_dir}` contains no recipes; install Kinesweep from a wheel or its repository"
    )


def list_shipped_files(root: Path) -> list[ShippedFile]:
    """List the shipped recipes, then the shipped search spaces, each sorted by name.

    Args:
        root: Folder that contains all shipped files.
    """
    return [
        ShippedFile(path.relative_to(root), kind, _summarize(path))
        for kind, folder in _FOLDERS.items()
        for path in sorted((root / folder).glob("*.yaml"))
    ]


def copy_shipped_files(root: Path, names: Sequence[str], out: Path) -> dict[Path, bool]:
    """Copy all recipes and search spaces of some names, with the files that they refer to.

    Files that exist already are kept if their content is the same. If one of them differs, nothing
    is written.

    Args:
        root: Folder that contains all shipped files.
        names: Names without a suffix.
        out: Folder for the copies, which get the same subfolders as in `root`.

    Returns:
        Each path below `out`, and whether it was written rather than kept.

    Raises:
        InputError: If there is no file of a name, or if a different file or a folder is in the
            place of a copy.
    """
    by_name: dict[str, list[Path]] = {}
    for file in list_shipped_files(root):
        by_name.setdefault(file.name, []).append(file.path)
    if unknown := [name for name in names if name not in by_name]:
        raise InputError(
            f"there is no recipe or search space `{unknown[0]}`"
            f"{suggest_closest_word(unknown[0], list(by_name)) or ';'}"
            " `kinesweep recipes` lists all"
        )
    # A recipe and a space of the same name are copied together, as one needs the other.
    paths = _collect_references(root, [path for name in names for path in by_name[name]])
    texts = {path: (root / path).read_text(encoding="utf-8") for path in paths}
    # All targets are checked before the first one is written.
    is_missing = {path: _is_missing(out / path, text) for path, text in texts.items()}
    for path, text in texts.items():
        if is_missing[path]:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            write_text(out / path, text)
    return is_missing


def _is_missing(target: Path, text: str) -> bool:
    """Return whether a file has yet to be written; False if it has the same content.

    Args:
        target: Path of the copy.
        text: Content of the copy.

    Raises:
        InputError: If something else is in its place.
    """
    # `exists` is false for a link that leads nowhere, which must not be written through either.
    parent = next(path for path in target.parents if path.is_symlink() or path.exists())
    if not parent.is_dir():
        raise InputError(f"`{parent}` is not a folder; choose another one for the copies")
    if not target.is_symlink() and not target.exists():
        return True
    if target.is_file() and target.read_bytes() == text.encode():
        return False
    raise InputError(
        f"`{target}` exists and differs from the file that would be copied, so nothing was written;"
        " move it away or choose another folder"
    )


def _collect_references(root: Path, paths: Sequence[Path]) -> list[Path]:
    """Collect shipped files and all shipped files that they refer to, directly or indirectly.

    Args:
        root: Folder that contains all shipped files.
        paths: Paths of the first files, relative to `root`.

    Returns:
        Paths relative to `root`, without duplicates.
    """
    found: dict[Path, None] = {}
    open_paths = list(paths)
    while open_paths:
        path = open_paths.pop(0)
        if path in found:
            continue
        found[path] = None
        for text in _iter_strings(yaml.safe_load((root / path).read_text(encoding="utf-8"))):
            target = (root / path.parent / text).resolve() if text.endswith(".yaml") else None
            if target and target.is_file() and target.is_relative_to(root.resolve()):
                open_paths.append(target.relative_to(root.resolve()))
    return list(found)


def _iter_strings(value: Any) -> Iterator[str]:
    """Iterate over all strings in plain values, without the keys of mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _iter_strings(item)


def _summarize(path: Path) -> str:
    """Return a search space's question, or the first sentence of the comment that opens a file."""
    text = path.read_text(encoding="utf-8")
    question = (yaml.safe_load(text) or {}).get("question")
    if question:
        return str(question)
    lines = []
    for line in text.splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
    # A capital letter after the full stop, so that `et al. (2023)` does not end the sentence.
    return re.split(r"(?<=\.) (?=[A-Z])", " ".join(lines), maxsplit=1)[0]
