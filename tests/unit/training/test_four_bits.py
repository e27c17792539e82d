"""QLoRA in a process of its own: wherever bitsandbytes is installed every process imports it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from environments import ROOT, cached_environment, imports

FILE = Path(__file__).with_name("four_bits.py")


@pytest.fixture(scope="module")
def packages() -> Path:
    """A folder with bitsandbytes alone, in the version of `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    (wanted,) = (line for line in lines if line.startswith("bitsandbytes=="))

    def install(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", f"--target={folder}", wanted], check=True)

    def works(folder: Path) -> bool:
        return imports(sys.executable, ["bitsandbytes"], PYTHONPATH=str(folder))

    return cached_environment("bitsandbytes", [wanted], install, works)


def run(packages: Path, names: str, count: int) -> None:
    """Run the tests of the other file that have these words in their names."""
    paths = [str(packages), str(ROOT / "platform"), str(ROOT / "tests")]
    command = [sys.executable, "-m", "pytest", str(FILE), "-k", names, "-q", "-rPs"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"{count} passed" in done.stdout


@pytest.mark.slow
def test_a_tiny_one_on_a_cpu(packages: Path) -> None:
    run(packages, "tiny or no_4_bits", 2)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_billion_weights(packages: Path) -> None:
    run(packages, "billion", 1)
