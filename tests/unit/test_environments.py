"""Folders of packages that tests share: made once, and again when they do not work."""

import importlib.metadata
from pathlib import Path

import pytest

from environments import cached_environment, link_distributions, required


def test_it_is_made_once_and_again_when_it_does_not_work(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        assert not folder.exists(), "what a killed process left is removed first"
        folder.mkdir()
        (folder / "whole").touch()
        made.append(folder)

    def works(folder: Path) -> bool:
        return (folder / "whole").is_file()

    def get(*wanted: str) -> Path:
        return cached_environment("toy", list(wanted), make, works, tmp_path)

    assert get("a==1") == get("a==1") and len(made) == 1
    assert get("a==2") != made[0] and len(made) == 2
    (made[0] / "whole").unlink()
    (made[0] / "half").touch()
    assert get("a==1") == made[0] and len(made) == 3
    assert not (made[0] / "half").exists()


def test_links_lead_to_what_is_required_and_nothing_else(tmp_path: Path) -> None:
    found = required(["rich>=14", "colorama; platform_system == 'Windows'"])
    assert {"rich", "pygments", "markdown-it-py"} <= set(found)
    assert not {"colorama", "torch", "ipywidgets"} & set(found)
    link_distributions(found.values(), tmp_path / "site")
    names = {path.name for path in (tmp_path / "site").iterdir()}
    assert {"rich", "pygments"} <= names and "numpy" not in names
    with pytest.raises(AssertionError, match="rich>=1000"):
        required(["rich>=1000"])
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        required(["no-such-package"])
