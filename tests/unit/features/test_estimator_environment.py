"""Environments of estimators, made by our own pip or by the one that Python brings."""

import subprocess
import sys
from pathlib import Path

import pytest

from kinesweep.core.errors import ResourceError
from kinesweep.features.estimators import virtualenv


@pytest.mark.parametrize("has_pip", [True, False])
def test_pip_installs_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pip: bool
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        commands.append(command)
        if "venv" in command:
            (tmp_path / "environments").mkdir(exist_ok=True)
            Path(command[3]).mkdir()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    monkeypatch.setattr(virtualenv.subprocess, "run", run)
    monkeypatch.setattr(virtualenv.importlib.util, "find_spec", lambda _: has_pip or None)
    python = str(virtualenv.get_environment_python("toy", ("toy==1",)))
    assert virtualenv.get_environment_python("toy", ("toy==1",)) == Path(python)
    made, installed = commands  # once for two calls
    assert ("--without-pip" in made) == has_pip
    pip = [sys.executable, "-m", "pip", f"--python={python}"] if has_pip else [python, "-m", "pip"]
    assert installed[: len(pip)] == pip
    assert "toy==1" in installed and set(virtualenv.BASE_REQUIREMENTS) <= set(installed)


def test_what_pip_says_last_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        failed = "pip" in command
        return subprocess.CompletedProcess(command, int(failed), "", "ERROR: no such version\n")

    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    monkeypatch.setattr(virtualenv.subprocess, "run", run)
    with pytest.raises(ResourceError, match=r"toy==9.*no such version"):
        virtualenv.get_environment_python("toy", ("toy==9",))
    assert not list((tmp_path / "environments").glob("*/ready.json"))
