"""Estimators of SMPL's joints: HybrIK (a stand-in of its code), functions and commands of users."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from joints import BASE, UNIT_M, WEIGHT, blocks, write_frames, write_function, write_hybrik
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.sources.estimators import EstimatorFile, JointEstimatorConfig
from kinesweep.core.errors import ClipError, ConfigError, InputError, ResourceError
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.features.estimators.smpl.configured import (
    build_estimator_spec,
    compute_estimator_fingerprint,
    find_named_estimator,
    read_estimator_file,
)
from kinesweep.features.estimators.smpl.person_boxes import PersonTracker
from kinesweep.features.estimators.subprocess_worker import EstimatorProcess
from kinesweep.sources.pose_format.pose_file import read_pose

FPS = 25.0


def make(section: dict[str, Any]) -> JointEstimatorConfig:
    return validate_config(EstimatorFile, {"estimator": section}, "test").estimator


def run(section: dict[str, Any], folder: Path, frames: NDArray[np.uint8]) -> list[PoseSequence]:
    """The poses of each person that an estimator finds in a film."""
    output = folder / "out.pose"
    film = folder / "film"
    if not film.exists():
        write_frames(film, frames)
    with EstimatorProcess(build_estimator_spec(make(section))) as estimate:
        made = estimate(film, output, FPS)
    assert made["frames"] == len(frames) and made["points"] == 22
    people: list[PoseSequence] = []
    while True:
        try:
            people.append(read_pose(output, person=len(people)))
        except ClipError as error:
            assert error.reason == "no_such_person"
            return people


def expected(lefts: Sequence[int | None], top: int = 10, side: int = 8) -> NDArray[np.float64]:
    """The joints of the stand-in for a block, from its words: (T, 22, 3), nan without a block."""
    rows = []
    for left in lefts:
        if left is None:
            rows.append(np.full((22, 3), np.nan))
            continue
        model_side = side * 1.25
        middle = left + side / 2 - 64 / 2, top + side / 2 - 48 / 2
        # x and y of the camera, and the depth at a focal length of 1000 pixels.
        rows.append(BASE[:22] * WEIGHT * UNIT_M + (*middle, model_side * 256 / model_side))
    return np.stack(rows)


def test_hybrik_in_camera_space(tmp_path: Path) -> None:
    """Red and green cross; the blue block is a car, the largest box, and nobody is in frame 4."""
    red, green = [None, 4, 8, 12, None, 16, 20], [50, 46, 42, 38, None, 34, None]
    section = {**write_hybrik(tmp_path), "people": 2}
    # Green is there first, so it is the first person.
    for person, lefts in zip(
        run(section, tmp_path, blocks(red, green, [20] * 7)), (green, red), strict=True
    ):
        assert person.layout == SMPL_22.layout and person.fps == FPS
        found_TJ = person.confidence_TPJ[:, 0] > 0
        wanted = np.repeat([[left is not None] for left in lefts], 22, axis=1)
        np.testing.assert_array_equal(found_TJ, wanted)
        found = found_TJ[:, 0]
        np.testing.assert_allclose(
            person.points_TPJC[found, 0], expected(lefts)[found], rtol=1e-5, atol=1e-5
        )


def test_hybrik_s_other_joints_and_the_root(tmp_path: Path) -> None:
    section = {**write_hybrik(tmp_path), "joints": "regressed", "position": "root"}
    section |= {"unit": "hybrik"}
    (person,) = run(section, tmp_path, blocks([4, 30]))
    wanted = (BASE[:22] - BASE[0]) * WEIGHT
    np.testing.assert_allclose(person.points_TPJC[:, 0], [wanted, wanted], rtol=1e-5, atol=1e-5)


def test_people_are_followed() -> None:
    """A is found again after a cut, B where it was; a new box needs the threshold and a place."""
    tracker = PersonTracker(2, 0.9)
    a, b, far = [0, 0, 10, 10], [20, 0, 28, 8], [50, 0, 60, 10]

    def update(*found: tuple[list[int], float]) -> list[list[float] | None]:
        boxes = tracker.update([box for box, _ in found], [score for _, score in found])
        return [None if box is None else box.tolist() for box in boxes]

    assert update((a, 0.8)) == []
    assert update((b, 0.95), (a, 0.95), ([1, 0, 10, 10], 0.99)) == [a, b]
    assert update((b, 0.3)) == [None, b]
    assert update((b, 0.3), (far, 0.8)) == [None, b]
    assert update((b, 0.3), (far, 0.9)) == [far, b]
    assert update() == [None, None]
    assert update(([21, 0, 29, 8], 0.2), ([51, 0, 61, 10], 0.1), (a, 0.99)) == [
        *([51, 0, 61, 10], [21, 0, 29, 8]),
    ]


def test_a_function_of_the_user(tmp_path: Path) -> None:
    section = {**write_function(tmp_path), "arguments": {"scale": 2.0}}
    (person,) = run(section, tmp_path, blocks([4, None, 8]))
    assert person.confidence_TPJ[:, 0, 0].tolist() == [1, 0, 1]
    wanted = np.array([(2 * 7.5, 2 * 13.5, 2 * FPS)]) + np.arange(22)[:, None] ** 2 * 0.1
    np.testing.assert_allclose(person.points_TPJC[0, 0], wanted, rtol=1e-6)
    counting = {**section, "function": "Counting", "arguments": {"first": 7}}
    people = run(counting, tmp_path, blocks([4, None, 8]))
    assert [len(person.points_TPJC) for person in people] == [3, 3]
    np.testing.assert_array_equal(people[1].points_TPJC[:, 0, 0, 0], [7, 8, 9])
    with pytest.raises(ClipError, match=r"shape \(3, 17, 3\).*22, 24, 29 joints"):
        run({**section, "function": "wrong", "arguments": {}}, tmp_path, blocks([4, None, 8]))


SCRIPT = """
import sys
import numpy as np
video, output, fps, width, height = sys.argv[1:]
joints = np.full((3, 29, 3), float(fps) * int(width) + int(height))
joints[1] = np.nan
if video.endswith("bad"):
    sys.exit("no such model")
np.savez(output, pred_xyz_29=joints, transl=joints[:, 0])
"""


def test_a_command_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(SCRIPT)
    words = ("{video}", "{output}", "{fps}", "{width}", "{height}")
    section = {
        "kind": "command",
        "command": [sys.executable, str(tmp_path / "run.py"), *words],
        "version": "3",
    }
    (person,) = run(section, tmp_path, blocks([1, 2, 3]))
    assert person.confidence_TPJ[:, 0, 0].tolist() == [1, 0, 1]
    assert (person.points_TPJC[0] == FPS * 64 + 48).all()
    write_frames(tmp_path / "bad", blocks([1, 2, 3]))
    write_frames(tmp_path / "long", blocks([1, 2, 3, 4]))
    other = section | {"command": ["sh", "-c", "echo text > $1", "{video}", "{output}"]}
    wrong = pytest.raises(ClipError, match=r"wrote no `\.npz` of numbers")
    with EstimatorProcess(build_estimator_spec(make(other))) as estimate, wrong:
        estimate(tmp_path / "bad", tmp_path / "bad.pose", FPS)
    with EstimatorProcess(build_estimator_spec(make(section))) as estimate:
        with pytest.raises(ClipError, match="exit code 1: no such model") as caught:
            estimate(tmp_path / "bad", tmp_path / "bad.pose", FPS)
        assert caught.value.reason == "estimator_failed"
        with pytest.raises(ClipError, match="has 4 frames, but its poses have 3"):
            estimate(tmp_path / "long", tmp_path / "long.pose", FPS)


WITHOUT_KINESWEEP = """
import runpy
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "kinesweep":
            raise ModuleNotFoundError("No module named 'kinesweep'", name=name)


sys.meta_path.insert(0, Missing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_an_environment_without_kinesweep(tmp_path: Path) -> None:
    """The interpreter that is named has the libraries of the estimator, but not this package."""
    (tmp_path / "start.py").write_text(WITHOUT_KINESWEEP)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -P {tmp_path}/start.py "$@"\n')
    python.chmod(0o755)
    section = {**write_hybrik(tmp_path), "python": str(python)}
    (person,) = run(section, tmp_path, blocks([4, None, 8]))
    assert person.confidence_TPJ[:, 0, 0].tolist() == [1, 0, 1]


def test_identity_is_content_not_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, b = (build_estimator_spec(make(write_hybrik(tmp_path / name))) for name in "ab")
    assert a.fingerprint == b.fingerprint and a.settings != b.settings
    c = build_estimator_spec(make(write_hybrik(tmp_path / "b", weight=0.25)))
    assert c.fingerprint != a.fingerprint
    people = {**write_hybrik(tmp_path / "a"), "people": 2}
    assert build_estimator_spec(make(people)).fingerprint != a.fingerprint
    assert build_estimator_spec(make({**people, "people": 1, "gpus": 1})).fingerprint == (
        a.fingerprint
    )
    # As a bundle has it: without paths, with the hash of the files.
    portable = {**people, "people": 1, "folder": "HybrIK", "sha256": a.identity["sha256"]}
    assert compute_estimator_fingerprint(make(portable)) == a.fingerprint
    own = write_function(tmp_path)
    versions = [{**own, "version": version} for version in "12"]
    assert len({build_estimator_spec(make(item)).fingerprint for item in versions}) == 2


def test_what_cannot_be(tmp_path: Path) -> None:
    section = write_hybrik(tmp_path)
    with pytest.raises(InputError, match=r"hybrik needs `.*gone\.pth`, which does not exist"):
        build_estimator_spec(make({**section, "checkpoint": "gone.pth"}))
    for wrong, message in (
        ({"kind": "hybrik"}, "folder.*missing"),
        ({**section, "python": "x", "requirements": ["y==1"]}, "set one of them"),
        ({"kind": "python", "version": "1"}, "set either `file` or `module`"),
        ({"kind": "command", "version": "1", "command": ["x"]}, "lacks {video} and {output}"),
    ):
        with pytest.raises(ConfigError, match=message):
            make(wrong)
    broken = replace(build_estimator_spec(make(section)), python=str(tmp_path / "no python"))
    film = write_frames(tmp_path / "film", blocks([1]))
    with EstimatorProcess(broken) as estimate, pytest.raises(ResourceError, match="cannot be"):
        estimate(film, tmp_path / "x.pose", FPS)


def test_interpreters_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers may have another working directory; a link must not be resolved."""
    monkeypatch.chdir(tmp_path)
    link = tmp_path / "env" / "python"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    section = {"kind": "command", "version": "1", "command": ["x", "{video}", "{output}"]}
    for python, found in (("env/python", str(link)), ("python3", "python3")):
        assert build_estimator_spec(make({**section, "python": python})).python == found


def test_a_file_holds_the_section(tmp_path: Path) -> None:
    section = write_hybrik(tmp_path)
    lines = [f"{key}: {value}" for key, value in section.items()]
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    (tmp_path / "b.yaml").write_text("estimator:\n" + "\n".join(f"  {line}" for line in lines))
    assert read_estimator_file(tmp_path / "a.yaml") == read_estimator_file(tmp_path / "b.yaml")
    assert find_named_estimator(str(tmp_path / "a.yaml")).name == "hybrik"
    assert find_named_estimator("mediapipe").name == "mediapipe"
    (tmp_path / "c.yaml").write_text("kind: plugin\nname: mediapipe\n")
    assert find_named_estimator(str(tmp_path / "c.yaml")).name == "mediapipe"
