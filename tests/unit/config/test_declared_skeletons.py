"""`source.skeleton`: names, skeletons declared in place and in files, and their mistakes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.sources.declared_skeletons import DeclaredSkeletonConfig
from kinesweep.core.errors import ConfigError
from kinesweep.pipelines.inputs import load_recipe
from kinesweep.sweeps.space.loading import load_space
from spaces import write

POINTS = ["neck", "head", "l_hand", "r_hand"]


def load(skeleton: Any) -> SkeletonsConfig:
    values = {"kind": "skeletons", "fps": 30, "train": "a.tsv", "skeleton": skeleton}
    return validate_config(SkeletonsConfig, values, "recipe.yaml")


def problems(skeleton: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(skeleton)
    return dict(caught.value.problems)


def test_points_may_be_named_or_numbered() -> None:
    named = load({"points": POINTS, "bones": [["neck", "head"], ["r_hand", "neck"]]}).skeleton
    numbered = load({"points": POINTS, "bones": [[0, 1], [3, 0]], "root": 0}).skeleton
    assert isinstance(named, DeclaredSkeletonConfig)
    assert isinstance(numbered, DeclaredSkeletonConfig)
    assert named.bone_indices == numbered.bone_indices == [(0, 1), (3, 0)]
    assert named.root_index == numbered.root_index == 0 and named.left_right_indices is None


def test_every_mistake_is_reported_at_once() -> None:
    found = problems(
        {
            "points": POINTS,
            "bones": [["nek", "head"], [0, 4], [0, 1], ["head", 0], [2, 2]],
            "left_right": [["l_hand", "r_hand"], ["r_hand", "tail"]],
            "root": "hed",
            "legs": 2,
        }
    )
    bones = found["skeleton.bones"]
    for said in ("[0] names the unknown point `nek` (did you mean `neck`?)", "point 4 (indices"):
        assert said in bones
    assert "[3] closes a cycle, from `head` to `neck`" in bones
    assert "[4] joins `l_hand` to itself" in bones
    assert "`r_hand` is used 2 times" in found["skeleton.left_right"]
    assert "`tail`" in found["skeleton.left_right"] and "`head`" in found["skeleton.root"]
    assert "unknown" in found["skeleton.legs"]


@pytest.mark.parametrize("closing", range(5))
def test_cycles_are_found_in_any_order(closing: int) -> None:
    """Two chains of a ring meet in the last bone, wherever it begins."""
    ring = [[0, 1], [3, 4], [1, 2], [4, 0], [2, 3]]
    bones = [*ring[closing + 1 :], *ring[:closing], ring[closing]]
    assert (
        "[4] closes a cycle" in problems({"points": [*"abcde"], "bones": bones})["skeleton.bones"]
    )
    load({"points": [*"abcde"], "bones": bones[:4]})


def test_a_cycle_is_found_after_branches() -> None:
    """Two bones of one point, and one between their ends."""
    found = problems({"points": [*"abc"], "bones": [[0, 1], [0, 2], [1, 2]]})
    assert found["skeleton.bones"] == "[2] closes a cycle, from `b` to `c`"


@pytest.mark.parametrize(
    ("skeleton", "path", "said"),
    [
        ("kinect_v2", "skeleton", "did you mean `kinect_v2_25`?"),
        ("mine", "skeleton", "`kinesweep skeletons`"),
        (None, "skeleton", "`kinesweep skeletons`"),
        (22, "skeleton", "`kinesweep skeletons`"),
        ({}, "skeleton.points", "missing"),
        ({"points": []}, "skeleton.points", "at least 1"),
        ({"points": ["a", "a", ""]}, "skeleton.points", "`a` is the name of 2 points; [2] must"),
        ({"points": ["a", 1]}, "skeleton.points[1]", "string"),
        ({"points": ["a", "b"], "bones": ["ab"]}, "skeleton.bones[0]", "tuple"),
        ({"points": ["a", "b"], "bones": [[0, -1]]}, "skeleton.bones", "point -1"),
        ({"points": ["a"], "root": 1}, "skeleton.root", "indices are 0 to 0"),
        ({"points": ["a", "b"], "root": True}, "skeleton.root", "valid integer"),
        ({"points": ["a", "b"], "bones": [[0, True]]}, "skeleton.bones[0][1]", "valid"),
        ({"points": ["a", " "]}, "skeleton.points", "[1] must be a name on one line"),
        ({"points": ["a", "b\nc"]}, "skeleton.points", "[1] must be a name on one line"),
        ({"points": ["a"], "name": "b\nc"}, "skeleton.name", "must be a name on one line"),
        (["a", "b"], "skeleton", "a mapping with `points`"),
        (7, "skeleton", "a mapping with `points`"),
    ],
)
def test_a_mistake_is_named_where_it_is(skeleton: Any, path: str, said: str) -> None:
    assert said in problems(skeleton)[path]


def test_a_file_is_read_into_the_recipe(tmp_path: Path) -> None:
    declared = {"points": POINTS, "bones": [[0, 1]], "root": "neck"}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(declared))
    config = load(str(path))
    assert config.skeleton == load(declared).skeleton
    path.unlink()  # the recipe holds what the file said
    assert validate_config(SkeletonsConfig, config.model_dump(mode="json"), "again") == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("points: [a, b]\nbones: [[a, c]]\nrot: a\n", "`bones` [0] names the unknown point `c`"),
        ("points: [a, b]\nbones: [[a, c]]\nrot: a\n", "`rot` unknown; did you mean `root`?"),
        ("points: [a", "not valid YAML"),
        ("", "`(file)` must contain a mapping"),
        ("- a\n- b\n", "`(file)` must contain a mapping"),
        (None, "cannot be read"),
    ],
)
def test_a_file_with_mistakes_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "mine.yml"
    if text is not None:
        path.write_text(text)
    message = problems(str(path))["skeleton"]
    assert said in message and "mine.yml" in message


def test_a_file_is_relative_to_the_base_like_other_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "mine.yaml").write_text("points: [a, b]\nbones: [[a, b]]\n")
    plain = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    source = {"kind": "skeletons", "fps": 30, "train": "a.tsv", "validation": "b.tsv"}
    plain |= {"source": {**source, "skeleton": "mine.yaml"}, "features": {"kind": "skeleton"}}
    write(tmp_path, {"search": {"kind": "random", "trials": 2}})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain))
    monkeypatch.chdir(tmp_path)
    _, of_space = load_space(tmp_path / "space.yaml", (), Path("base"))
    for recipe in (load_recipe(tmp_path / "recipe.yaml", [], Path("base")), of_space):
        skeleton: Any = recipe.source.skeleton  # type: ignore[union-attr]
        assert skeleton.points == ("a", "b")
    with pytest.raises(ConfigError, match=re.escape(f"reads `{tmp_path / 'mine.yaml'}`")):
        load_recipe(tmp_path / "recipe.yaml", [])


def test_a_name_is_dumped_as_before() -> None:
    assert load("smpl_24").model_dump()["skeleton"] == "smpl_24"
