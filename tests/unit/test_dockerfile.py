"""The image, as far as it can be checked without a builder: its instructions, and its build script.

`make image CHECK=1` builds it and starts Ray and Kinesweep in it.
"""

import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from packaging.specifiers import SpecifierSet

from kinesweep.version import __version__

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "jobs/cluster/build_image.sh"


@pytest.fixture(scope="module")
def steps() -> list[dict[str, Any]]:
    """Instructions and their values."""
    with (ROOT / "jobs/cluster/Dockerfile").open("rb") as file:
        parsed = DockerfileParser(fileobj=file).structure
    return [step for step in parsed if step["instruction"] != "COMMENT"]


def values(steps: list[dict[str, Any]], instruction: str) -> list[str]:
    return [step["value"] for step in steps if step["instruction"] == instruction]


def test_it_copies_what_there_is_and_what_is_sent(steps: list[dict[str, Any]]) -> None:
    """Each source exists, and `.dockerignore` does not keep it back; each stage exists."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    stages = [value.split(" AS ")[1] for value in values(steps, "FROM") if " AS " in value]
    copied = set()
    for value in values(steps, "COPY"):
        words = value.split()
        if words[0].startswith("--from="):
            assert words[0].removeprefix("--from=") in stages
            continue
        for source in words[:-1]:
            assert (ROOT / source).exists(), source
            copied.add(source)
    assert {
        name.partition("/")[0] if name.startswith("platform") else name for name in sent
    } == copied
    bases = [value.split()[0] for value in values(steps, "FROM")]
    assert all(base == "${BASE}" or base in stages for base in bases)


def test_it_is_pinned_and_has_no_root(steps: list[dict[str, Any]]) -> None:
    """A named release below, exact versions above, one user with the number that KubeRay uses."""
    defaults = dict(value.split("=", 1) for value in values(steps, "ARG"))
    assert re.fullmatch(r"debian:[a-z]+-slim", defaults["BASE"]), "a release, not `latest`"
    assert defaults["DEVICE"] == "cpu"
    runs = values(steps, "RUN")
    installs = [line for run in runs for line in re.findall(r"pip install [^&;]*", run)]
    assert len(installs) == 4
    for line in installs:
        pinned = ("-c constraints.txt", "--no-index", "'pip>=26'")
        assert any(words in line for words in pinned), line
        assert "--no-cache-dir" in line
    assert all("rm -rf /var/lib/apt/lists" in run for run in runs if "apt-get" in run)
    assert values(steps, "USER") == ["kinesweep"]
    assert [step["instruction"] for step in steps][-3:] == ["USER", "WORKDIR", "CMD"]
    assert any("--uid 1000" in run for run in runs)
    cluster = yaml.safe_load((ROOT / "jobs/cluster/kuberay.yaml").read_text())
    pods = str(cluster)
    assert f"kinesweep:{__version__}" in pods and "'runAsUser': 1000" in pods


def test_its_python_is_one_that_we_support(steps: list[dict[str, Any]]) -> None:
    """Debian's release has one Python; the constraints must hold for it."""
    release = {"bookworm": "3.11", "trixie": "3.13"}
    base = dict(value.split("=", 1) for value in values(steps, "ARG"))["BASE"]
    version = release[base.removeprefix("debian:").removesuffix("-slim")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert SpecifierSet(project["requires-python"]).contains(version)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_its_requirements_are_those_of_the_project(
    steps: list[dict[str, Any]], device: str, tmp_path: Path
) -> None:
    """The step that lists them is executed as it is written."""
    (run,) = (value for value in values(steps, "RUN") if "tomllib" in value)
    step = run.partition(" && ")[0].replace("\\\n", "\n")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    env = {"PATH": os.environ["PATH"], "DEVICE": device}
    subprocess.run(["sh", "-euc", step], cwd=tmp_path, env=env, check=True)
    written = (tmp_path / "requirements.txt").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = ["postgres", "hub-data", *(["qlora"] if device == "cuda" else [])]
    wanted = [line for extra in extras for line in project["optional-dependencies"][extra]]
    assert written == [*project["dependencies"], *wanted]


def build(folder: Path, *words: str, working: tuple[str, ...], **variables: str) -> str:
    """Run the build script with builders that only write down their arguments."""
    for name in ("docker", "podman", "buildah"):
        program = folder / name
        code = 0 if name in working else 1
        said = f'#!/bin/sh\n[ "$1" = info ] && exit {code}\necho {name} "$@" >> {folder}/calls\n'
        program.write_text(said + f"[ $1 != mount ] || echo {folder}/mounted\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "mounted").mkdir(exist_ok=True)
    env = {"PATH": f"{folder}:/usr/bin:/bin", **variables}
    done = subprocess.run([str(SCRIPT), *words], env=env, capture_output=True, text=True)
    calls = folder / "calls"
    written = calls.read_text() if calls.exists() else ""
    return f"{done.returncode} {done.stderr}{written}"


def test_the_script_uses_a_builder_that_works(tmp_path: Path) -> None:
    said = build(tmp_path, "cuda", "--pull", working=("podman", "buildah"))
    assert said.startswith("0 podman build --file ")
    assert f"--build-arg DEVICE=cuda --tag kinesweep:{__version__}-cuda --pull {ROOT}\n" in said


def test_the_script_begins_with_a_folder(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    said = build(tmp_path, working=("buildah",), BASE=str(tmp_path / "root"), CHECK="1")
    assert (tmp_path / "mounted/etc").is_dir()
    assert f"--tag kinesweep:{__version__} --build-arg BASE=localhost/kinesweep-base {ROOT}" in said
    assert "-- python -c" in said and "check_head" in said


@pytest.mark.parametrize(
    ("words", "variables", "problem"),
    [
        (["gpu"], {}, "DEVICE must be cpu or cuda, but is 'gpu'"),
        (["cpu"], {}, "no builder works here"),
        (["cpu"], {"BUILDER": "docker"}, "BUILDER 'docker' is not installed, or"),
    ],
)
def test_the_script_names_what_is_missing(
    words: list[str], variables: dict[str, str], problem: str, tmp_path: Path
) -> None:
    said = build(tmp_path, *words, working=(), **variables)
    assert said.startswith("2 ") and problem in said and "build --file" not in said
