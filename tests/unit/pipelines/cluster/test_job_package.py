"""What a job runs on the local head and elsewhere, and what is said where it cannot run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kinesweep
from kinesweep.pipelines.cluster.job_package import (
    PackageMode,
    build_job_command,
    build_package_env,
)
from kinesweep.version import __version__

PACKAGE = str(Path(kinesweep.__file__).parent)


def test_the_local_head_runs_this_installation(tmp_path: Path) -> None:
    command = build_job_command(["sweep", "x"], is_local=True, python=None)
    assert command == [sys.executable, "-m", "kinesweep", "sweep", "x"]
    assert build_package_env("auto", True, None, [], tmp_path) == {}


@pytest.mark.parametrize(
    ("mode", "is_local", "uploads"),
    [
        ("auto", False, True),
        ("upload", True, True),
        ("upload", False, True),
        ("installed", False, False),
        ("installed", True, False),
    ],
)
def test_who_brings_the_package(
    mode: PackageMode, is_local: bool, uploads: bool, tmp_path: Path
) -> None:
    env = build_package_env(mode, is_local, None, [], tmp_path)
    assert ("env_vars" in env) == (not is_local), "only commands that read them get them"
    assert env.get("py_modules") == ([PACKAGE] if uploads else None)


def start(folder: Path, isolated: bool = True, **submitted: object) -> subprocess.CompletedProcess:
    """Run the command of a job in a folder, as an interpreter of a cluster."""
    env = build_package_env("installed", False, None, [], folder)["env_vars"]
    env["KINESWEEP_SUBMITTED"] = json.dumps({**json.loads(env["KINESWEEP_SUBMITTED"]), **submitted})
    command = build_job_command(["recipes", "--copy", "no"], is_local=False, python=sys.executable)
    found = str(folder) if isolated else str(Path(PACKAGE).parent)
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        command,
        env=variables | env | {"PYTHONPATH": found},
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_it_runs_the_command_line(tmp_path: Path) -> None:
    done = start(tmp_path, isolated=False)
    assert done.returncode == 2
    assert "there is no recipe or search space `no`" in done.stderr


def test_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "kinesweep").mkdir()
    (tmp_path / "kinesweep/__init__.py").write_text("raise AssertionError('not to be imported')")
    (tmp_path / "kinesweep/version.py").write_text('__version__ = "0.0.7"')
    done = start(tmp_path)
    assert done.returncode == 2
    assert f"Kinesweep is 0.0.7 there, but {__version__} where the job was submitted" in done.stderr
    assert "AssertionError" not in done.stderr


def test_all_packages_that_do_not_suit_are_named(tmp_path: Path) -> None:
    wanted = ["torch<1", "numpy>=1", "no-such-package>=3; python_version > '3'"]
    wanted.append("absent; platform_system == 'Windows'")
    done = start(tmp_path, isolated=False, requirements=wanted)
    assert done.returncode == 2
    assert "`torch` is 2." in done.stderr and "needs <1" in done.stderr
    assert "`no-such-package` is not installed, needs >=3" in done.stderr
    assert "numpy" not in done.stderr and "absent" not in done.stderr
    assert f"{sys.executable} -m pip install 'torch<1' 'no-such-package>=3'\n" in done.stderr


def test_the_requirements_are_ours_without_extras(tmp_path: Path) -> None:
    env = build_package_env("installed", False, None, [], tmp_path)["env_vars"]
    lines = json.loads(env["KINESWEEP_SUBMITTED"])["requirements"]
    assert any(line.startswith("ray[") for line in lines)
    assert not any("pytest" in line or "wandb" in line for line in lines)
