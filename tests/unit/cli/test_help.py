"""Every verb's help shows an example, and the example parses as it stands."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kinesweep.cli import app

ROOT = Path(__file__).resolve().parents[3]
GROUP = typer.main.get_command(app)
VERBS = sorted(GROUP.commands)  # type: ignore[attr-defined]


def help_of(*verb: str) -> str:
    result = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return re.sub(r"\s+", " ", result.output)


def example_in(text: str) -> list[str]:
    found = re.search(r"Example: kinesweep (.+?)(?= Options:| Commands:| Arguments:|$)", text)
    assert found, text
    return shlex.split(re.split(r" Overrides of the space| From there", found[1])[0])


def test_the_top_shows_all_verbs() -> None:
    text = help_of()
    assert all(verb in text for verb in VERBS)
    assert example_in(text)[0] == "sample"
    assert len(VERBS) >= 17


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_shows_an_example_that_parses(verb: str) -> None:
    words = example_in(help_of(verb))
    assert words[0] == verb
    command = GROUP.commands[verb]  # type: ignore[attr-defined]
    with command.make_context(verb, words[1:]):
        pass
    files = [word for word in words if word.endswith(".yaml")]
    assert all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize("verb", VERBS)
def test_an_example_is_one_line_however_narrow_the_terminal(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "60"})
    (line,) = [line for line in result.output.splitlines() if "Example: kinesweep" in line]
    shown = line.strip().removeprefix("Example: kinesweep ")
    assert shlex.split(shown) == example_in(help_of(verb))


@pytest.mark.parametrize("words", [["trian"], ["train"], ["up", "--cores", "0"], ["sample"]])
def test_wrong_usage_is_code_2(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
