"""Packages with parts of others in a job: found in its files, importable where they are sent."""

import json
import os
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
import yaml

from kinesweep.pipelines.cluster.job_package import build_package_env
from kinesweep.pipelines.cluster.job_parts import (
    find_part_packages,
    list_part_requirements,
    stage_packages,
)
from plugin_package import install_package

POINTS = {"kinesweep.encoders": {"toy_encoder": "Config"}, "kinesweep.estimators": {"toy": "Toy"}}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Distribution:
    """An installed package of one file, with an encoder and an estimator."""
    install_package(monkeypatch, tmp_path / "site", "toy_parts", "VALUE = 7", POINTS, "2.5")
    return distribution("toy_parts")


def write(path: Path, **content: object) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return str(path)


def names(*arguments: str) -> list[str]:
    return [package.name for package in find_part_packages(arguments)]


@pytest.mark.usefixtures("package")
def test_they_are_found_in_spaces_recipes_and_overrides(tmp_path: Path) -> None:
    used = {"model": {"encoder": {"kind": "toy_encoder"}}}
    write(tmp_path / "recipes/uses.yaml", **used)
    plain = write(tmp_path / "recipes/plain.yaml", model={"encoder": {"kind": "linear"}})
    refers = write(tmp_path / "spaces/refers.yaml", recipe="../recipes/uses.yaml")
    choices = {"model.encoder.kind": {"choices": ["linear", "toy_encoder"]}}
    swept = write(
        tmp_path / "spaces/swept.yaml", recipe="../recipes/plain.yaml", parameters=choices
    )
    plugin = {"source": {"estimator": {"kind": "plugin", "name": "toy"}}}
    short = write(tmp_path / "spaces/short.yml", recipe="../recipes/uses.yaml")
    for argument in (refers, swept, short, write(tmp_path / "plugin.yml", **plugin)):
        assert names("sweep", argument) == ["toy_parts"], argument
    assert names("sweep", plain, "recipe.model.encoder.kind=toy_encoder") == ["toy_parts"]
    assert names("sweep", plain, "name=toy_encoder", "--resume") == []


@pytest.mark.usefixtures("package")
def test_files_that_cannot_be_read_are_left_to_the_job(tmp_path: Path) -> None:
    circle = write(tmp_path / "a.yaml", recipe="x/../b.yaml")
    write(tmp_path / "b.yaml", recipe="x/../a.yaml")
    (tmp_path / "broken.yaml").write_text("{")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.yaml").mkdir()
    others = [str(tmp_path / f"{name}.yaml") for name in ("broken", "binary", "folder", "absent")]
    assert names("sweep", circle, *others, "kind={") == []


def test_an_upload_has_the_module_and_its_entry_points(
    package: Distribution, tmp_path: Path
) -> None:
    (tmp_path / "stage").mkdir()
    folders = [Path(folder) for folder in stage_packages([package], tmp_path / "stage")]
    # Ray puts each folder into one of its own, which is on the path.
    for folder in folders:
        (tmp_path / "node" / str(folders.index(folder))).mkdir(parents=True)
        folder.rename(tmp_path / "node" / str(folders.index(folder)) / folder.name)
    path = [str(found) for found in sorted((tmp_path / "node").iterdir())]
    code = "import toy_parts, importlib.metadata as m; print(toy_parts.VALUE,"
    code += " m.version('toy_parts'), *(p.name for p in m.distribution('toy_parts').entry_points))"
    env = {"PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["7", "2.5", "toy_encoder", "toy"], done.stderr


def test_the_cluster_must_have_what_they_need(package: Distribution, tmp_path: Path) -> None:
    assert list_part_requirements([package]) == ["toy_parts==2.5", "numpy"]
    for mode, uploads in (("auto", True), ("installed", False)):
        (tmp_path / mode).mkdir()
        env = build_package_env(mode, False, None, [package], tmp_path / mode)  # type: ignore[arg-type]
        submitted = json.loads(env["env_vars"]["KINESWEEP_SUBMITTED"])
        assert submitted["requirements"][-2:] == ["toy_parts==2.5", "numpy"]
        assert len(env.get("py_modules", [])) == 3 * uploads
