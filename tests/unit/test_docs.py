"""The documentation names commands, options, extras and errors that exist, and all of them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from kinesweep.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
COMMAND = re.compile(r"kinesweep ([a-z][a-z-]+)((?: [^`|#]*)?)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_have_the_options_that_pages_show(page: Path) -> None:
    commands: Any = typer.main.get_command(app)
    for line in page.read_text(encoding="utf-8").splitlines():
        for name, words in COMMAND.findall(line):
            command = commands.commands.get(name)
            if command is None:  # a sentence about Kinesweep, or a command that does not exist
                assert not re.search(rf"(^|`)kinesweep {name}", line), line
                continue
            known = {
                opt for param in command.params for opt in (*param.opts, *param.secondary_opts)
            }
            shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", words)) - {"--help"}
            assert shown <= known, f"{sorted(shown - known)} in `{line}`"


def test_every_extra_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    extras = project["optional-dependencies"]
    assert [extra for extra in extras if f"`{extra}`" not in page] == []


def test_every_error_of_the_server_is_listed() -> None:
    code = "".join(path.read_text() for path in (ROOT / "platform/kinesweep/serving").rglob("*.py"))
    keys = set(re.findall(r'(?:RequestError|cls)\(\s*\d{3},\s*"(\w+)"', code))
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    assert len(keys) > 20 and sorted(key for key in keys if f"`{key}`" not in page) == []
