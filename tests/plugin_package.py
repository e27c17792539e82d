"""Packages with parts of other people, installed into a folder by writing what pip would write."""

import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest


def install_package(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    module: str,
    source: str,
    entry_points: Mapping[str, Mapping[str, str]],
    version: str = "1.0",
) -> None:
    """Write a package into a folder, and put the folder on the path until the test ends."""
    write_package(folder, module, source, entry_points, version)
    if str(folder) not in sys.path:
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)


def write_package(
    folder: Path,
    module: str,
    source: str,
    entry_points: Mapping[str, Mapping[str, str]],
    version: str = "1.0",
) -> None:
    """Write a module and its metadata into a folder.

    Args:
        folder: Folder to write to.
        module: Name of the module and of the distribution.
        source: Code of the module.
        entry_points: Group → kind → class in the module.
        version: Version of the distribution.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(dedent(source))
    for old in folder.glob(f"{module}-*.dist-info"):
        (old / "METADATA").unlink()
        (old / "entry_points.txt").unlink()
        old.rmdir()
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\nRequires-Dist: numpy\n"
    )
    lines = []
    for group, classes in entry_points.items():
        lines += [f"[{group}]", *(f"{kind} = {module}:{name}" for kind, name in classes.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
