"""A skeleton of one's own, from arrays to stores, models, mirrors, drawings and bundles."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinect import POINTS, SKELETON, write_kinect_corpus
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig, SkeletonsConfig
from kinesweep.core.errors import InputError
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.skeleton.skeleton import ROOT, SKELETONS, Skeleton, find_skeleton
from kinesweep.features.mirror import compute_mirror_permutation
from kinesweep.features.skeleton_normalization import normalize_motion
from kinesweep.report.pose_scene import LEFT, MIDDLE, RIGHT, build_scene
from kinesweep.sources.skeletons.array_meaning import ArrayMeaning
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.store.extraction.build import extract_locally

BONES = {(0, 1), (2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 6)}
"""Pairs of child and parent: head, left and right arm, from between the shoulders."""


def config(folder: Path, **changes: Any) -> SkeletonsConfig:
    values = {"kind": "skeletons", "fps": 30, "train": str(folder / "all.tsv"), **changes}
    values = {"skeleton": SKELETON, "motions": str(folder / "motions"), **values}
    return SkeletonsConfig.model_validate(values)


def declared(**keys: Any) -> Skeleton:
    values = {"kind": "skeletons", "fps": 30, "train": "a.tsv", "skeleton": {**SKELETON, **keys}}
    return ArrayMeaning.from_config(SkeletonsConfig.model_validate(values)).skeleton


def test_bones_lead_away_from_the_root() -> None:
    skeleton = declared()
    assert set(skeleton.bones) == BONES and skeleton.parents[1] == ROOT
    assert declared(root="hand_left").parents == (1, 2, 3, 4, ROOT, 1, 5, 6)
    # Without a bone, the lower numbers of the two trees are roots.
    two = declared(bones=[[4, 3], [7, 6]], root=7)
    assert two.parents == (ROOT, ROOT, ROOT, ROOT, 3, ROOT, 7, ROOT)


def test_motions_are_centered_on_the_declared_root_of_several_trees() -> None:
    """Point 0 has no parent either, and must not take the place of the root."""
    skeleton = declared(bones=[[4, 3], [7, 6]], root=7)
    assert skeleton.root == 7 and declared(root=3).root == 3
    x_TJC = np.random.default_rng(0).normal(size=(5, 8, 3)).astype(np.float32)
    ones_TPJ = np.ones((5, 1, 8), np.float32)
    pose = PoseSequence(x_TJC[:, None], ones_TPJ, 30.0, skeleton.layout)
    settings = SkeletonFeaturesConfig.model_validate({"kind": "skeleton", "centre": "each"})
    found = normalize_motion(pose, settings.model_copy(update={"scale": "none"})).x_TJC
    np.testing.assert_allclose(found, x_TJC - x_TJC[:, 7:8], atol=1e-6)
    # Stored layouts keep it, and those whose root is the first point stay as they were.
    layouts = [declared(bones=[[4, 3], [7, 6]], root=root).layout for root in (0, 3, 5, 7)]
    assert len({str(layout.to_json()) for layout in layouts}) == 4
    assert [PointLayout.from_json(layout.to_json()) for layout in layouts] == layouts
    plain = declared().layout.to_json()
    assert isinstance(plain, dict) and list(plain["tree"]) == ["name", "parents", "mirror", "left"]


def test_sides_are_recognized_or_declared() -> None:
    assert declared().mirror == (0, 1, 5, 6, 7, 2, 3, 4)
    assert declared(left_right=[["hand_left", "hand_right"]]).mirror == (0, 1, 2, 3, 7, 5, 6, 4)
    x_TD = np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32)
    scene = build_scene("pose", x_TD, declared(left_right=[[7, 4]]).layout, 30.0)
    assert scene.sides == (*[MIDDLE] * 4, RIGHT, MIDDLE, MIDDLE, LEFT)
    assert set(scene.bones) == BONES


@pytest.mark.parametrize(
    ("names", "mirror"),
    [
        (("Hips", "LeftArm", "RightArm"), (0, 2, 1)),
        (("Hips", "LArm", "RArm"), (0, 2, 1)),
        (("Hips", "lShldr", "rShldr"), (0, 2, 1)),
        (("hips", "L_Arm", "R_Arm"), (0, 2, 1)),
        (("hips", "arm.L", "arm.R"), (0, 2, 1)),
        (("mixamorig:Hips", "mixamorig:LeftArm", "mixamorig:RightArm"), (0, 2, 1)),
        (("root", "lfemur", "rfemur"), (0, 2, 1)),
        (("Root", "HandL", "HandR"), (0, 2, 1)),
        (("rib", "arm.L.001", "arm.R.001"), (0, 2, 1)),
        (("lip", "arm-r", "arm-l"), (0, 2, 1)),
        (("LeftFoot", "RightFoot", "toeL", "toeR"), (1, 0, 3, 2)),
        (("neck", "Lip", "Rib"), (None, None, None)),
        (("a", "b", "c"), (None, None, None)),
    ],
)
def test_spellings_of_sides(names: tuple[str, ...], mirror: tuple[int | None, ...]) -> None:
    skeleton = declared(points=names, bones=[], root=0)
    assert skeleton.layout.tree is not None and skeleton.layout.tree.mirror == mirror
    if None in mirror:
        with pytest.raises(InputError, match="left_right"):
            compute_mirror_permutation(skeleton.layout)


def test_a_hand_without_its_counterpart_is_not_mirrored() -> None:
    names = ("neck", "left_hand", "right_hand", "right_elbow")
    with pytest.raises(InputError, match="`right_elbow`"):
        compute_mirror_permutation(declared(points=names, bones=[], root=0).layout)


def test_it_is_part_of_the_store(tmp_path: Path) -> None:
    write_kinect_corpus(tmp_path, words=2, signers=1, takes=1)
    plain = kinect_recipe(tmp_path)
    store = extract_locally(plain)
    layout = store.schema.streams["pose"].layout
    assert isinstance(layout, PointLayout) and layout.point_names == POINTS
    skeleton = find_skeleton(layout)
    assert skeleton is not None and set(skeleton.bones) == BONES
    assert extract_locally(plain).fingerprint == store.fingerprint
    # Other bones, sides or names are other features, whatever the numbers are.
    prints = {store.fingerprint}
    for changes in ({"root": "head"}, {"left_right": []}, {"points": [*POINTS[:-1], "palm_right"]}):
        bones = [[POINTS.index(name) for name in bone] for bone in SKELETON["bones"]]
        prints.add(extract_locally(kinect_recipe(tmp_path, bones=bones, **changes)).fingerprint)
    assert len(prints) == 4


def kinect_recipe(folder: Path, **keys: Any) -> Recipe:
    from corpus import tiny_recipe

    plain = tiny_recipe(folder, folder / "stores").model_dump(mode="json")
    plain["source"] = config(folder, skeleton={**SKELETON, **keys}).model_dump(mode="json")
    return validate_config(Recipe, {**plain, "features": {"kind": "skeleton"}}, "test")


@pytest.mark.parametrize(
    ("shape", "third", "reason"),
    [
        ((5, 8, 3), "z", None),
        ((5, 8, 2), "z", None),
        ((5, 24), "z", None),
        ((5, 8, 3), "confidence", None),
        ((5, 9, 3), "z", "wrong_shape"),
        ((5, 8, 4), "z", "wrong_shape"),
        ((5, 22), "z", "wrong_shape"),
        ((8, 3), "z", "wrong_shape"),
        ((5, 8, 2), "confidence", "no_confidence"),
    ],
)
def test_arrays_must_have_its_points(
    tmp_path: Path, shape: tuple[int, ...], third: str, reason: str | None
) -> None:
    (tmp_path / "motions").mkdir()
    np.save(tmp_path / "motions" / "a.npy", np.ones(shape, np.float32))
    (tmp_path / "all.tsv").write_text("motion\ttext\na.npy\tA text.\n")
    rows = SkeletonsSource(config(tmp_path, third=third)).check_clips()
    assert [row.reason for row in rows] == ([reason] if reason else [])
    if reason == "wrong_shape":
        assert "`declared` must be (frames, 8, 2 or 3)" in rows[0].message


def test_joints_of_smpl_are_read_by_their_names(tmp_path: Path) -> None:
    """A skeleton called `smpl` may have other points than the output of HybrIK."""
    (tmp_path / "motions").mkdir()
    np.savez(tmp_path / "motions" / "a.npz", pred_xyz_29=np.ones((5, 29, 3), np.float32))
    (tmp_path / "all.tsv").write_text("motion\ttext\na.npz\tA text.\n")
    names = [*SKELETONS["smpl_22"].layout.point_names]
    for points, reasons in ((names, []), (names[::-1], ["wrong_shape"])):
        skeleton = {"name": "smpl", "points": points}
        rows = SkeletonsSource(config(tmp_path, skeleton=skeleton)).check_clips()
        assert [row.reason for row in rows] == reasons


def test_names_are_described_as_before(tmp_path: Path) -> None:
    """Fingerprints of stores with a named skeleton do not change."""
    for name, skeleton in SKELETONS.items():
        described = ArrayMeaning.from_config(config(tmp_path, skeleton=name)).describe()
        assert described == {"fps": 30, "skeleton": skeleton.name}
    of_own = {**SKELETON, "name": "smpl_22"}
    assert ArrayMeaning.from_config(config(tmp_path, skeleton=of_own)).describe() != {
        **{"fps": 30, "skeleton": "smpl_22"}
    }
