"""The wheel alone, in an environment of its own: what it holds, a whole sweep, a translation."""

import ast
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from installs import build_wheel, copy_sources, make_environment, requires, without_checkout
from kinesweep.config.recipe import Recipe
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.version import __version__

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = {True: ("--clips", "60"), False: ()}
FEW_STEPS = ("search.trials=1", "finalists.count=1", "finalists.seeds=[1,2]", "baseline=false")
FEW_STEPS += ("recipe.training.max_steps=20", "recipe.training.eval_steps=10")
FEW_STEPS += ("sanity_baselines=[]", "pruner.kind=none")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return copy_sources(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    return build_wheel(source)


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory) -> Path:
    return make_environment(tmp_path_factory.mktemp("short"), requires(wheel), wheel)


@pytest.mark.slow
def test_it_holds_the_package_and_what_is_shipped_and_nothing_else(wheel: Path) -> None:
    """Every file of the package is in it; a new kind of file needs a line in pyproject.toml."""
    package = ROOT / "platform/kinesweep"
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    wanted = {f"kinesweep/{path.relative_to(package)}" for path in files}
    for folder in ("jobs/recipes", "search_spaces"):
        wanted |= {
            f"kinesweep/shipped/{path.relative_to(ROOT)}" for path in (ROOT / folder).glob("*.yaml")
        }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == wanted
    assert {"kinesweep/py.typed", "kinesweep/report/templates/report.html.j2"} <= names


@pytest.mark.slow
def test_a_source_distribution_builds_the_same(source: Path, wheel: Path, tmp_path: Path) -> None:
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        content.extractall(tmp_path, filter="data")
    again = build_wheel(tmp_path / archive.name.removesuffix(".tar.gz"))
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_its_metadata_is_valid(wheel: Path) -> None:
    """All fields by the standard's rules, and the version of the code."""
    with zipfile.ZipFile(wheel) as content:
        (name,) = (n for n in content.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Metadata.from_email(content.read(name), validate=True)
    assert str(metadata.version) == __version__
    assert metadata.description_content_type == "text/markdown" and metadata.description
    assert metadata.license_expression == "Apache-2.0" and metadata.license_files == ["LICENSE"]
    assert metadata.requires_python is not None
    assert [metadata.requires_python.contains(f"3.{n}") for n in (10, 11, 12, 13)] == [0, 1, 1, 0]


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


def run_installed(kinesweep: Path, folder: Path, *words: str) -> str:
    """Run an installed command without anything of this process's environment; return stdout."""
    env = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    # Several clusters run side by side on one machine, each with a folder for its sockets.
    env |= {"RAY_TMPDIR": tempfile.mkdtemp(prefix="ks-", dir="/tmp")}
    env |= {"RAY_memory_monitor_refresh_ms": "0", "RAY_worker_niceness": "0"}
    try:
        done = subprocess.run(
            [str(kinesweep), *words], cwd=folder, env=env, capture_output=True, text=True
        )
    finally:
        shutil.rmtree(env["RAY_TMPDIR"], ignore_errors=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def translate(kinesweep: Path, bundle: Path, table: Path, folder: Path) -> dict[str, str]:
    """Translate by an installed command."""
    said = run_installed(kinesweep, folder, "translate", str(bundle), str(table))
    return dict(line.split("\t") for line in said.splitlines())


def sweep_and_export(programs: Path, folder: Path, *changes: str) -> None:
    """Do what a newcomer does: sample corpus, copied recipe, sweep, export, translation."""
    kinesweep = programs / "kinesweep"
    found = subprocess.run(
        [str(programs / "python"), "-c", "import kinesweep; print(kinesweep.__file__)"],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
    )
    assert Path(found.stdout).is_relative_to(programs.parent), found.stderr
    run_installed(kinesweep, folder, "sample", ".kinesweep/sample", *SAMPLE[bool(changes)])
    run_installed(kinesweep, folder, "recipes", "--copy", "sample")
    run_installed(kinesweep, folder, "sweep", "search_spaces/sample.yaml", *changes)
    sweep = folder / ".kinesweep/sweeps/sample"
    result = json.loads((sweep / "result.json").read_text())
    assert len(result["test"]) >= 2
    run = next(path.parent for path in sorted(sweep.glob("runs/*/best")))
    run_installed(kinesweep, folder, "export", str(run), "bundle")
    pose = next((folder / ".kinesweep/sample").rglob("*.pose"))
    bundles = [folder / "bundle", folder / ".kinesweep/exports/sample"]
    # The sweep itself has verified its bundle; loading PyTorch once more takes seconds.
    for bundle in bundles[: 1 if changes else 2]:
        assert len(translate(kinesweep, bundle, pose, folder)) == 1


@pytest.mark.slow
def test_a_newcomer_sweeps_and_exports(programs: Path, tmp_path: Path) -> None:
    """The environment has the wheel and links to what its metadata requires, nothing else.

    The long form installs the requirements with pip, and leaves the sweep as it is.
    """
    sweep_and_export(programs, tmp_path, *FEW_STEPS)


def predicted(run: Path) -> dict[str, str]:
    lines = read_predictions(run / "predictions/validation.tsv")
    return {line.clip_id: line.hypothesis for line in lines}


@pytest.mark.slow
def test_it_translates_with_what_it_declares(
    programs: Path, bundle: Path, recipe: Recipe, run: Path, tmp_path: Path
) -> None:
    """The environment has the wheel and links to what its metadata requires, nothing else.

    The long form installs the requirements with pip instead.
    """
    found = "import importlib.util, kinesweep; print(kinesweep.__file__)"
    found += "; print(importlib.util.find_spec('pytest'))"
    said = subprocess.run([str(programs / "python"), "-I", "-c", found], capture_output=True)
    (site,) = (programs.parent / "lib").glob("python*/site-packages")
    assert said.stdout.decode().split() == [str(site / "kinesweep/__init__.py"), "None"]
    table = Path(recipe.source.validation)
    assert translate(programs / "kinesweep", bundle, table, tmp_path) == predicted(run)


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_a_newcomer_installs_translates_sweeps_and_exports(
    wheel: Path, bundle: Path, recipe: Recipe, run: Path, tmp_path: Path
) -> None:
    """Everything is installed anew by pip, which then finds nothing missing."""
    venv = tmp_path / "venv"
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin/python"), "-m", "pip"]
    install = [*pip, "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*install, "torch==2.13.0"], check=True, env=without_checkout())
    subprocess.run([*install, str(wheel)], check=True, env=without_checkout())
    subprocess.run([*pip, "check"], check=True, env=without_checkout())
    installed = time.monotonic()
    table = Path(recipe.source.validation)
    assert translate(venv / "bin/kinesweep", bundle, table, tmp_path) == predicted(run)
    folder = tmp_path / "newcomer"  # beside the bundle of the fixture
    folder.mkdir()
    sweep_and_export(venv / "bin", folder)
    print(f"install {installed - began:.0f} s, the rest {time.monotonic() - installed:.0f} s")
