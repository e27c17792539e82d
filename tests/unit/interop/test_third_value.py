"""Whether the third value of a point is a depth or a confidence is stated, never guessed.

Point counts are those of COCO (17), OpenPose (18, 25), Halpe (26, 136), COCO WholeBody (133), and
SMPL (22 of HumanML3D, 24), whose joints alone are defined as three-dimensional.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.errors import ClipError, SourceError
from kinesweep.interop.motion_pickle import convert_pickled_motions
from kinesweep.sources.base import SkeletonMotion
from kinesweep.sources.skeletons.skeletons import SkeletonsSource


def xy_confidence(points: int = 133, confidence: float = 0.9) -> NDArray[np.float32]:
    """A motion (10, J, 3) of x and y in pixels and a constant confidence."""
    x_TJC = np.random.default_rng(0).uniform(0, 500, (10, points, 3)).astype(np.float32)
    x_TJC[..., 2] = confidence
    return x_TJC


def write(folder: Path, x: Any, key: str = "keypoints") -> Path:
    records = [
        {key: x, "labels": ["hello there"], "video_name": "v1"},
        {key: x, "labels": ["good bye"], "video_name": "v2"},
    ]
    (folder / "motions.pkl").write_bytes(pickle.dumps(records))
    return folder / "motions.pkl"


def read(table: Path, **config: Any) -> SkeletonMotion:
    settings = {"kind": "skeletons", "fps": 25, "train": str(table)}
    source = SkeletonsSource(SkeletonsConfig.model_validate({**settings, **config}))
    return source.read(source.list_clips("train")[0])


def test_a_confidence_is_read_as_one_where_it_is_said(tmp_path: Path) -> None:
    x_TJC = xy_confidence()
    x_TJC[3, 7] = np.nan, np.nan, 0
    table = tmp_path / "train.tsv"
    done = convert_pickled_motions(write(tmp_path, x_TJC), table, "confidence")
    assert (done.points, done.third) == (133, "confidence")
    pose = read(table, skeleton="coco_wholebody_133", third="confidence").pose
    assert pose.points_TPJC.shape == (10, 1, 133, 2) and pose.has_confidence
    np.testing.assert_array_equal(pose.confidence_TPJ[:, 0], x_TJC[..., 2])
    np.testing.assert_array_equal(pose.points_TPJC[:, 0], x_TJC[..., :2])


@pytest.mark.parametrize("points", [17, 18, 25, 26, 33, 133, 136])
def test_points_without_a_definition_are_refused_until_it_is_said(
    tmp_path: Path, points: int
) -> None:
    path = write(tmp_path, xy_confidence(points))
    with pytest.raises(SourceError, match=rf"{points} points.*`--third z`, `--third confidence`"):
        convert_pickled_motions(path, tmp_path / "train.tsv")
    assert not (tmp_path / "train.tsv").exists()
    assert convert_pickled_motions(path, tmp_path / "train.tsv", "z").third == "z"


def test_the_counts_of_a_refusal_add_up(tmp_path: Path) -> None:
    for records, counts in (
        ([xy_confidence()] * 3, r"3 records, the first of them `motion_0`, have 133 points"),
        ([xy_confidence(22), xy_confidence(24)], r"2 records\n  records differ"),
    ):
        path = tmp_path / "motions.pkl"
        path.write_bytes(pickle.dumps([{"keypoints": x_TJC} for x_TJC in records]))
        with pytest.raises(SourceError, match=counts):
            convert_pickled_motions(path, tmp_path / "train.tsv")


def test_flat_points_without_a_definition_are_refused_too(tmp_path: Path) -> None:
    path = write(tmp_path, xy_confidence().reshape(10, -1))
    with pytest.raises(SourceError, match="--third"):
        convert_pickled_motions(path, tmp_path / "train.tsv")


@pytest.mark.parametrize(("points", "key"), [(22, "keypoints"), (24, "coordinates")])
def test_joints_of_smpl_are_defined(tmp_path: Path, points: int, key: str) -> None:
    x_TJC = np.random.default_rng(0).normal(size=(10, points, 3)).astype(np.float32)
    done = convert_pickled_motions(write(tmp_path, x_TJC, key), tmp_path / "train.tsv")
    assert done.third == "z"
    pose = read(done.table, skeleton=f"smpl_{points}").pose
    np.testing.assert_array_equal(pose.points_TPJC[:, 0], x_TJC)
    assert not pose.has_confidence and (pose.confidence_TPJ == 1).all()


def test_hybrik_s_29_joints_are_defined(tmp_path: Path) -> None:
    x_TJC = xy_confidence(29)
    done = convert_pickled_motions(write(tmp_path, x_TJC, "pred_xyz_29"), tmp_path / "a.tsv")
    assert (done.points, done.third) == (22, "z")


def test_two_values_a_point_need_no_statement(tmp_path: Path) -> None:
    x_TJC = xy_confidence(17)[..., :2]
    done = convert_pickled_motions(write(tmp_path, x_TJC), tmp_path / "train.tsv")
    assert read(done.table, skeleton="coco_17").pose.points_TPJC.shape == (10, 1, 17, 2)


def test_none_leaves_the_third_value_out(tmp_path: Path) -> None:
    path = write(tmp_path, xy_confidence(17))
    done = convert_pickled_motions(path, tmp_path / "train.tsv", "none")
    with np.load(done.pack) as pack:
        assert pack["data"].shape == (20, 17, 2)
    assert read(done.table, skeleton="coco_17").pose.points_TPJC.shape == (10, 1, 17, 2)


def test_a_recipe_that_says_otherwise_than_the_pack_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, xy_confidence())
    done = convert_pickled_motions(path, tmp_path / "train.tsv", "confidence")
    with pytest.raises(ClipError, match=r"set `source\.third: confidence`") as caught:
        read(done.table, skeleton="coco_wholebody_133")
    assert caught.value.reason == "other_third"


def test_the_command_asks_for_it_and_says_how_to_read_the_result(tmp_path: Path) -> None:
    path, out = write(tmp_path, xy_confidence()), tmp_path / "train.tsv"
    refused = CliRunner().invoke(app, ["convert", str(path), str(out)])
    assert refused.exit_code == 2 and "--third confidence" in refused.output
    words = ["convert", str(path), str(out), "--third", "confidence", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "source.third=confidence" in done.output
    assert json.loads(done.stdout.strip().splitlines()[-1])["third"] == "confidence"
    (tmp_path / "a.yml").write_text("a: 1")
    wrong = CliRunner().invoke(app, ["convert", str(tmp_path / "a.yml"), "b.yml", "--third", "z"])
    assert wrong.exit_code == 2 and "--third" in wrong.output
