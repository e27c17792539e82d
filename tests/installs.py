"""Wheels of this checkout, and environments that have dependencies but nothing of this checkout."""

import email
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from environments import ROOT, link_distributions, required

SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
FOLDERS = ("platform", "jobs/recipes", "search_spaces")


def copy_sources(folder: Path) -> Path:
    """Copy what a build reads: building leaves files behind."""
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    return folder


def build_wheel(source: Path) -> Path:
    """Build a wheel of a copy of the sources, without the network."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", "out", "."], cwd=source, check=True, env=without_checkout())
    (wheel,) = (source / "out").glob("*.whl")
    return wheel


def requires(wheel: Path) -> list[str]:
    """Return what a wheel declares to need, its extras included."""
    with zipfile.ZipFile(wheel) as content:
        (name,) = (n for n in content.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(content.read(name))
    return list(metadata.get_all("Requires-Dist", []))


def make_environment(folder: Path, requirements: list[str], wheel: Path | None = None) -> Path:
    """Make a virtual environment with links to what is required, and with a wheel or without.

    Returns:
        Its folder of programs: `python`, `ray` and, with a wheel, `kinesweep`.
    """
    python = folder / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    if wheel is not None:
        pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "--no-index"]
        command = [*pip, "--quiet", "--no-deps", str(wheel)]
        subprocess.run(command, check=True, env=without_checkout())
    link_distributions(required(requirements).values(), folder / "declared")
    (site / "declared.pth").write_text(f"{folder / 'declared'}\n")
    ray = folder / "bin/ray"
    ray.write_text(f"#!{python}\nfrom ray.scripts.scripts import main\nmain()\n")
    ray.chmod(0o755)
    return folder / "bin"


def without_checkout(**variables: str) -> dict[str, str]:
    """Return this process's variables without the paths of this checkout."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
