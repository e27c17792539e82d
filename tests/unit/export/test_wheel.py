"""The wheel alone, in a virtual environment of its own, translates a bundle."""

import ast
import email
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from environments import link_distributions, required
from kinesweep.config.recipe import Recipe
from kinesweep.evaluation.predictions import read_predictions

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp("source")  # building leaves files behind
    shutil.copytree(ROOT / "platform", source / "platform")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", "out", "."]
    subprocess.run(command, cwd=source, check=True)
    return next((source / "out").glob("*.whl"))


@pytest.mark.slow
def test_it_holds_what_the_code_reads(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "kinesweep/py.typed" in names
    for name in ("report.html.j2", "report.js", "report.css"):
        assert f"kinesweep/report/templates/{name}" in names


@pytest.mark.slow
def test_it_declares_what_the_code_imports(wheel: Path) -> None:
    """Every package that is imported anywhere, also inside of functions."""
    lines = [line for line in requires(wheel) if 'extra == "dev"' not in line]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    homes = importlib.metadata.packages_distributions()
    found: dict[str, str] = {}
    with zipfile.ZipFile(wheel) as content:
        for name in content.namelist():
            if name.endswith(".py"):
                found |= dict.fromkeys(imported(content.read(name).decode()), name)
    assert {"torch", "ray", "pose_format"} <= set(found)
    missing = {
        package: where
        for package, where in found.items()
        if not declared & {canonicalize_name(home) for home in homes.get(package, [package])}
    }
    assert missing == {}


def imported(code: str) -> set[str]:
    """Return the packages of others that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    tops = {name.partition(".")[0] for name in names}
    return tops - sys.stdlib_module_names - {"kinesweep"}


def requires(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as content:
        (name,) = (n for n in content.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(content.read(name))
    return list(metadata.get_all("Requires-Dist", []))


def translate(kinesweep: Path, bundle: Path, table: Path, folder: Path) -> dict[str, str]:
    """Run an installed command without anything of this process's environment."""
    done = subprocess.run(
        [str(kinesweep), "translate", str(bundle), str(table)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(line.split("\t") for line in done.stdout.splitlines())


def predicted(run: Path) -> dict[str, str]:
    lines = read_predictions(run / "predictions/validation.tsv")
    return {line.clip_id: line.hypothesis for line in lines}


@pytest.mark.slow
def test_it_translates_with_what_it_declares(
    wheel: Path, bundle: Path, recipe: Recipe, run: Path, tmp_path: Path
) -> None:
    """The environment has the wheel and links to what its metadata requires, nothing else.

    The long form installs the requirements with pip instead.
    """
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    install = ["-m", "pip", f"--python={venv}/bin/python", "install", "--quiet", "--no-deps"]
    subprocess.run([sys.executable, *install, str(wheel)], check=True, env=without_checkout())
    declared = required(requires(wheel))
    assert "torch" in declared and "pytest" not in declared
    link_distributions(declared.values(), tmp_path / "declared")
    (site,) = (venv / "lib").glob("python*/site-packages")
    (site / "declared.pth").write_text(f"{tmp_path / 'declared'}\n")
    found = "import importlib.util, kinesweep; print(kinesweep.__file__)"
    found += "; print(importlib.util.find_spec('pytest'))"
    said = subprocess.run([str(venv / "bin/python"), "-I", "-c", found], capture_output=True)
    assert said.stdout.decode().split() == [str(site / "kinesweep/__init__.py"), "None"]
    table = Path(recipe.source.validation)
    assert translate(venv / "bin/kinesweep", bundle, table, tmp_path) == predicted(run)


@pytest.mark.proof
def test_it_translates_with_what_pip_installs(
    wheel: Path, bundle: Path, recipe: Recipe, run: Path, tmp_path: Path
) -> None:
    """Two minutes: everything is installed anew."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin/pip"), "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "torch==2.13.0"], check=True, env=without_checkout())
    subprocess.run([*pip, str(wheel)], check=True, env=without_checkout())
    table = Path(recipe.source.validation)
    assert translate(venv / "bin/kinesweep", bundle, table, tmp_path) == predicted(run)


def without_checkout() -> dict[str, str]:
    """Return the environment in which pip does not take this checkout for the installed package."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
