"""Published keypoint sets: values equal a separate computation written from the publications."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from pose_format import Pose
from pose_format.numpy.pose_body import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderDimensions
from pose_format.utils.cocowholebody133_header import cocowholebody_components
from pydantic import ValidationError

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import PoseFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.keypoint_sets import KEYPOINT_SETS
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.skeleton.skeleton import SKELETONS, find_skeleton
from kinesweep.features import build_features
from kinesweep.features.mirror import compute_mirror_permutation
from kinesweep.features.pose import PoseFeatures
from kinesweep.sources.pose_format.pose_file import read_pose

WHOLE_BODY = SKELETONS["coco_wholebody_133"].layout
SIZE = (640, 360)
REFINED = PointLayout(
    tuple(
        (name, tuple(map(str, range(478))) if name == "FACE_LANDMARKS" else points)
        for name, points in (
            ("POSE_LANDMARKS", SKELETONS["holistic_33"].layout.components[0][1]),
            ("FACE_LANDMARKS", ()),
            *SKELETONS["holistic_hands"].layout.components,
        )
    )
)
# Numbers of COCO-WholeBody: body 0-22, face 23-90, left hand 91-111, right hand 112-132.
BODY, LEFT, RIGHT = [0, *range(3, 11)], [*range(91, 112)], [*range(112, 133)]
FACE = [*range(23, 40, 2), *range(83, 91), 53]
HANDS = {"left": slice(9, 30), "right": slice(30, 51)}


def step(**settings: Any) -> PoseFeatures:
    features = build_features(PoseFeaturesConfig(**{"points": "uni_sign_69", **settings}))
    assert isinstance(features, PoseFeatures)
    return features


def whole_body(frames: int = 7, seed: int = 0) -> PoseSequence:
    """A person in the middle of the frame; a fifth of all scores is below the threshold."""
    rng = np.random.default_rng(seed)
    points = rng.normal((320, 180), (60, 40), (frames, 1, 133, 2)).astype(np.float32)
    scores = rng.uniform(0.05, 1.2, (frames, 1, 133)).astype(np.float32)
    return PoseSequence(points, scores, 25.0, WHOLE_BODY, frame_size=SIZE)


def holistic(frames: int = 5) -> PoseSequence:
    rng = np.random.default_rng(1)
    points = rng.normal(300, 80, (frames, 1, REFINED.num_points, 3)).astype(np.float32)
    found = (rng.random((frames, 1, REFINED.num_points)) > 0.2).astype(np.float32)
    return PoseSequence(points, found, 30.0, REFINED, frame_size=SIZE)


def compute_uni_sign(pose: PoseSequence) -> NDArray[np.float64]:
    """Sub-poses of arXiv 2501.15187, one point and frame after the other."""
    xy = pose.points_TPJC[:, 0].astype(float) / np.array(SIZE)
    scores = pose.confidence_TPJ[:, 0].astype(float)
    sure = [xy[t, j] for t in range(len(xy)) for j in BODY if scores[t, j] > 0.3]
    (left, top), (right, bottom) = np.min(sure, axis=0), np.max(sure, axis=0)
    side = max(right - left, bottom - top)
    rows = []
    for t in range(len(xy)):
        row = []
        for part, origin in ((BODY, None), (LEFT, 91), (RIGHT, 112), (FACE, 53)):
            for j in part:
                if scores[t, j] <= 0.3:
                    row += [0.0, 0.0, 0.0]
                    continue
                if origin is None:
                    value = 2 * (xy[t, j] - [(left + right) / 2, (top + bottom) / 2]) / side
                else:
                    value = (xy[t, j] - xy[t, origin]) / side
                row += [min(max(v, -1.0), 1.0) for v in (*value, scores[t, j])]
        rows.append(row)
    return np.array(rows)


def test_uni_sign_equals_the_publication() -> None:
    pose = whole_body()
    features = step().compute_features(pose)["pose"]
    assert features.x_TD.shape == (7, 69 * 3) and features.has_mask
    np.testing.assert_allclose(features.x_TD, compute_uni_sign(pose), atol=2e-6)
    assert abs(features.x_TD).max() == 1  # something was clipped
    assert step().estimate_shapes(pose) == {"pose": (7, 207)}


def test_youtube_asl_fits_a_unit_box_over_the_clip() -> None:
    pose = holistic()
    x_TD = step(points="youtube_asl_85")(pose)
    assert x_TD.shape == (5, 85 * 3)
    names = [(part, name) for part, points in REFINED.components for name in points]
    body = ["SHOULDER", "ELBOW", "HIP"]
    chosen = [("POSE_LANDMARKS", f"{side}_{joint}") for joint in body for side in ("LEFT", "RIGHT")]
    chosen += [name for name in names if "HAND" in name[0]]
    # The 37 numbers of section 4.1 of arXiv 2306.15162.
    face = "0 4 13 14 17 33 37 39 46 52 55 61 64 81 82 93 133 151 152 159 172 178 181 263 269 276"
    face += " 282 285 291 294 311 323 362 386 397 468 473"
    chosen += [("FACE_LANDMARKS", number) for number in face.split()]
    indices = [names.index(name) for name in chosen]
    points, found = pose.points_TPJC[:, 0, indices], pose.confidence_TPJ[:, 0, indices] > 0
    lower = points[found].min(axis=0)
    expected = (points - lower) / (points[found].max(axis=0) - lower).max()
    expected[~found] = 0
    np.testing.assert_allclose(x_TD.reshape(expected.shape), expected, atol=1e-6)
    assert x_TD.min() == 0 and x_TD.max() == 1


def test_a_missing_hand_and_low_scores_are_zero_and_nan_there_is_harmless() -> None:
    pose = whole_body()
    pose.confidence_TPJ[2, 0, 91:112] = 0  # the left hand is out of sight
    pose.points_TPJC[2, 0, 91:112] = np.nan
    pose.confidence_TPJ[:, 0, 112] = 0  # the wrist of the right hand is never found
    pose.confidence_TPJ[3, 0, BODY] = 0.3  # exactly the threshold
    x_TJC = step()(pose).reshape(7, 69, 3)
    assert not x_TJC[2, HANDS["left"]].any() and x_TJC[1, HANDS["left"]].any()
    assert not x_TJC[:, HANDS["right"]].any()
    assert not x_TJC[3, :9].any() and x_TJC[3, HANDS["left"]].any()


def test_a_wrist_with_a_low_score_is_an_anchor_but_has_no_values() -> None:
    pose = whole_body()
    pose.confidence_TPJ[:, 0, 91] = 0.1
    np.testing.assert_allclose(step()(pose), compute_uni_sign(pose), atol=2e-6)
    assert step()(pose).reshape(7, 69, 3)[:, HANDS["left"]].any()


def absent(pose: PoseSequence) -> PoseSequence:
    return replace(pose, confidence_TPJ=np.zeros_like(pose.confidence_TPJ))


def without_body(pose: PoseSequence) -> PoseSequence:
    pose.confidence_TPJ[..., :23] = 0.1
    return pose


def at_one_place(pose: PoseSequence) -> PoseSequence:
    pose.points_TPJC[..., :23, :] = 7
    return pose


def with_nan(pose: PoseSequence) -> PoseSequence:
    pose.points_TPJC[0, 0, 100], pose.confidence_TPJ[0, 0, 100] = np.nan, 0.9
    return pose


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (absent, "no_people", "no point of a person"),
        (without_body, "no_scale", "only 0 points"),
        (at_one_place, "no_scale", "one position"),
        (with_nan, "nan_frames", "not finite"),
        (lambda pose: replace(pose, frame_size=None), "no_picture_size", "size of the video"),
        (lambda pose: replace(pose, frame_size=(0, 0)), "no_picture_size", "size of the video"),
        (lambda _: holistic(), "unknown_layout", "needs COCO-WholeBody"),
    ],
)
def test_clips_that_cannot_be_used(change: Any, reason: str, words: str) -> None:
    with pytest.raises(ClipError, match=words) as caught:
        step()(change(whole_body()))
    assert caught.value.reason == reason


def test_files_without_irises_are_named() -> None:
    face = tuple((c, p[:468] if c == "FACE_LANDMARKS" else p) for c, p in REFINED.components)
    pose = replace(holistic(), layout=PointLayout(face))
    with pytest.raises(ClipError, match=r"mediapipe_refined.*`468` of `FACE_LANDMARKS`"):
        step(points="youtube_asl_85")(pose)


def test_other_rates_have_scores_of_their_own_rate() -> None:
    pose = whole_body()
    twice = step(fps=50)(pose)
    assert len(twice) == 14
    pose.confidence_TPJ[:] = 0.8
    np.testing.assert_allclose(step(fps=50)(pose)[:, 2::3], 0.8, rtol=1e-6)
    assert len(step(stride=3)(pose)) == 3


def test_alphapose_has_the_same_points_under_other_names() -> None:
    pose = whole_body()
    renamed = tuple((f"{name}_133", points) for name, points in WHOLE_BODY.components)
    other = step()(replace(pose, layout=PointLayout(renamed)))
    assert np.array_equal(other, step()(pose))


def test_selection_and_normalization_can_be_chosen_apart() -> None:
    pose = whole_body()
    pose.confidence_TPJ[:] = 1
    raw = step(normalize="none")(pose).reshape(7, 69, 2)
    assert np.array_equal(raw, pose.points_TPJC[:, 0, BODY + LEFT + RIGHT + FACE])
    assert step(normalize="shoulders", missing="mask")(pose).shape == (7, 69 * 3)
    hidden = step(points="youtube_asl_85", hide_legs=True)(holistic()).reshape(5, 85, 3)
    assert not hidden[:, 4:6].any() and hidden[:, :4].any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"points": "holistic_178", "normalize": "published"}, "needs one of the published"),
        ({"points": "all", "normalize": "published"}, "use `shoulders`"),
        ({"points": "uni_sign_69", "missing": "mask"}, "set it to `zero`"),
        ({"points": "uni_sign_68"}, "uni_sign_69"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PoseFeaturesConfig(**settings)


def test_every_set_can_be_chosen_and_no_default_has_changed() -> None:
    choices = get_args(PoseFeaturesConfig.model_fields["points"].annotation)
    assert set(choices) == {*KEYPOINT_SETS, "holistic_178", "all"}
    sizes = {name: sum(len(p.points) for p in s.parts) for name, s in KEYPOINT_SETS.items()}
    assert {name: int(name.rsplit("_", 1)[1]) for name in sizes} == sizes
    default = PoseFeaturesConfig()
    assert (default.normalize, default.hide_legs) == ("shoulders", True)
    again = PoseFeaturesConfig.model_validate(step().config.model_dump())
    assert again == step().config


def test_the_fingerprint_covers_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    before, other = step().fingerprint, step(points="youtube_asl_85").fingerprint
    assert len({before, other, step(normalize="none").fingerprint}) == 3
    changed = replace(KEYPOINT_SETS["uni_sign_69"], threshold=0.5)
    monkeypatch.setitem(KEYPOINT_SETS, "uni_sign_69", changed)
    assert step().fingerprint != before
    assert step(points="youtube_asl_85").fingerprint == other


def test_mirroring_swaps_the_sides_of_uni_sign() -> None:
    layout = step().select_layout(WHOLE_BODY)
    order = compute_mirror_permutation(layout)
    assert order[1:9].tolist() == [2, 1, 4, 3, 6, 5, 8, 7]
    assert order[HANDS["left"]].tolist() == list(range(30, 51))
    # The mirrored video gives the mirrored features.
    pose = whole_body()
    pose.confidence_TPJ[:] = 0.9
    swap = compute_mirror_permutation(WHOLE_BODY)
    points = pose.points_TPJC.copy()
    points[..., 0] = SIZE[0] - points[..., 0]
    mirrored = replace(pose, points_TPJC=points[:, :, swap])
    values = step()(pose).reshape(7, 69, 3)[:, order] * [-1, 1, 1]
    np.testing.assert_allclose(step()(mirrored).reshape(7, 69, 3), values, atol=1e-5)


def test_both_sets_have_skeletons() -> None:
    for name, layout in (("uni_sign_69", WHOLE_BODY), ("youtube_asl_85", REFINED)):
        skeleton = find_skeleton(step(points=name).select_layout(layout))
        assert skeleton is not None and len(skeleton.bones) > 60, name


def test_the_reader_states_the_size_of_the_video(tmp_path: Path) -> None:
    pose = whole_body()
    header = PoseHeader(0.2, PoseHeaderDimensions(*SIZE, 0), cocowholebody_components())
    with (tmp_path / "a.pose").open("wb") as file:
        Pose(header, NumPyPoseBody(25.0, pose.points_TPJC, pose.confidence_TPJ)).write(file)
    read = read_pose(tmp_path / "a.pose")
    assert read.frame_size == SIZE
    np.testing.assert_array_equal(step()(read), step()(pose))


@pytest.mark.parametrize("points", [["uni_sign_69"], {"uni_sign_69": 1}, 3, None])
def test_points_that_are_no_name_are_a_problem_and_no_crash(points: Any) -> None:
    with pytest.raises(ValidationError, match="points"):
        PoseFeaturesConfig.model_validate({"points": points})


@pytest.mark.parametrize("features", [{}, [{"name": "pose"}]], ids=["alone", "in a list"])
def test_points_with_an_origin_in_a_corner_are_not_turned_about_it(features: Any) -> None:
    def read(points: str, augmentation: dict[str, float]) -> Recipe:
        chosen = {"points": points}
        return Recipe.model_validate(
            {
                "name": "turned",
                "source": {"train": "a.tsv", "validation": "b.tsv"},
                "features": [{**part, **chosen} for part in features] or chosen,
                "batch": {"augmentation": augmentation},
                "model": {"backbone": {"scratch": {"architecture": "bart"}}},
                "training": {"max_steps": 1},
            }
        )

    for setting in ("mirror", "rotation_deg"):
        with pytest.raises(ValidationError, match="need an origin in the body"):
            read("youtube_asl_85", {setting: 0.5})
        read("uni_sign_69", {setting: 0.5})
    read("youtube_asl_85", {"noise": 0.5})


@pytest.mark.parametrize("count", [20, 22])
def test_a_hand_of_another_number_of_points_is_refused(count: int) -> None:
    """Its points are taken by number, so one too few would move all that follow."""
    names = {"LEFT_HAND": tuple(f"point_{number}" for number in range(count))}
    layout = PointLayout(
        tuple((name, names.get(name, points)) for name, points in WHOLE_BODY.components)
    )
    with pytest.raises(ClipError, match="with `hand_0` of `LEFT_HAND`") as caught:
        step().select_layout(layout)
    assert caught.value.reason == "unknown_layout"
