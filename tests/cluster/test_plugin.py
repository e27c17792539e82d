"""Somebody else's estimator, installed as a package of its own in another environment."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from films import TOY, write_pictures, write_video
from kinesweep.sources.pose_format.pose_file import read_pose

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "brightest-point"
version = "1.0"

[project.entry-points."kinesweep.estimators"]
brightest = "brightest_point:Brightest"

[tool.setuptools]
py-modules = ["brightest_point"]
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the package, and all that we have."""
    folder = tmp_path_factory.mktemp("plugin")
    package = folder / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(PROJECT)
    (package / "brightest_point.py").write_text(TOY)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    found = folder / "env/bin/python"
    say = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = subprocess.run([str(found), "-c", say], capture_output=True, text=True, check=True)
    ours = [sysconfig.get_paths()["purelib"], str(ROOT / "platform")]
    (Path(site.stdout.strip()) / "ours.pth").write_text("\n".join(ours) + "\n")
    install = [str(found), "-m", "pip", "install", "--quiet", "--no-deps", str(package)]
    subprocess.run(install, check=True)
    return found


def test_it_is_found_and_used(python: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "in/a.mp4", 20)
    write_pictures(tmp_path / "in/frames", 12)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHONPATH"))}
    env |= {"KINESWEEP_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    words = ["estimate-poses", "in", "--out", "out", "--fps", "10", "--json", "--estimator"]

    def call(name: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "kinesweep", *words, name]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)

    done = call("brightest")
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    # The rate holds for both: 12 pictures, and 0.8 s of a video of 25 frames a second.
    assert (told["written"], told["failed"], told["frames"]) == (2, {}, 12 + 8)
    assert [read_pose(tmp_path / f"out/{name}.pose").fps for name in ("a", "frames")] == [10, 10]
    note = json.loads((tmp_path / "out/a.pose.json").read_text())
    assert (note["estimator"], note["estimator_version"]) == ("brightest", "1")
    wrong = call("brightess")
    assert wrong.returncode == 2 and "did you mean `brightest`" in wrong.stderr
