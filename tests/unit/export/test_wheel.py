"""The wheel alone, in a virtual environment of its own, translates a bundle."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kinesweep.training.predictions import read_predictions

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp("source")  # building leaves files behind
    for name in ("platform", "dashboards"):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", "out", "."]
    subprocess.run(command, cwd=source, check=True)
    return next((source / "out").glob("*.whl"))


@pytest.mark.slow
def test_it_holds_what_the_code_reads(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "kinesweep/py.typed" in names
    assert "kinesweep/report/templates/report.html.j2" in names


@pytest.mark.slow
def test_it_translates_with_nothing_else(wheel, bundle, recipe, run, tmp_path) -> None:
    """Two minutes: everything is installed anew."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin/pip"), "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    # Else pip finds this checkout there and takes the package for installed.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([*pip, "torch==2.13.0"], check=True, env=env)
    subprocess.run([*pip, str(wheel)], check=True, env=env)
    table = Path(recipe.source.validation)
    done = subprocess.run(
        [str(venv / "bin/kinesweep"), "translate", str(bundle), str(table)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    said = dict(line.split("\t") for line in done.stdout.splitlines())
    lines = read_predictions(run / "predictions/validation.tsv")
    assert said == {line.clip_id: line.hypothesis for line in lines}
