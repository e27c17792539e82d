"""`kinesweep new`: the kinds that it offers, and the commands that it prints."""

import shlex
from pathlib import Path
from typing import get_args, get_type_hints

from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.cli.info import new
from kinesweep.scaffolding import ROLES


def test_every_kind_of_part_can_be_chosen() -> None:
    """The command states them itself, because the templates need seconds to load."""
    choices, *_ = get_args(get_type_hints(new, include_extras=True)["part"])
    assert sorted(get_args(choices)) == sorted(ROLES)


def test_the_printed_commands_can_be_pasted(tmp_path: Path) -> None:
    """A folder may have spaces, and brackets, which are markup to the console."""
    out = tmp_path / "my [red] parts"
    told = CliRunner().invoke(app, ["new", "encoder", "lab_new", "--out", str(out)])
    assert told.exit_code == 0, told.output
    text = told.output.replace("\n", "")
    install, test = shlex.split(text.split("`")[3]), shlex.split(text.split("`")[5])
    assert install[-1] == test[-1] == str(out / "lab-new") and (out / "lab-new").is_dir()
