"""Features of a skeleton: placed by the root, scaled by the bones, what was not found is 0."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.keypoints import BODY_33
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.skeleton.skeleton import SKELETONS, SMPL_22
from kinesweep.features import build_features
from kinesweep.sources.base import SkeletonMotion


def motion(
    x_TJC: NDArray[np.float32],
    layout: PointLayout = SMPL_22.layout,
    lost: tuple[int, int] | None = None,
) -> SkeletonMotion:
    """Coordinates as a source reads them; `lost`: frame and point that were not found."""
    found_TPJ = np.ones((len(x_TJC), 1, x_TJC.shape[1]), np.float32)
    points_TPJC = x_TJC[:, None].astype(np.float32)
    if lost is not None:
        found_TPJ[lost[0], 0, lost[1]], points_TPJC[lost[0], 0, lost[1]] = 0, np.nan
    return SkeletonMotion(PoseSequence(points_TPJC, found_TPJ, 20.0, layout))


def walk(frames: int = 6, points: int = 22) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(frames, points, 3)).astype(np.float32)


def features(media: SkeletonMotion, **config: object) -> NDArray[np.float32]:
    made = SkeletonFeaturesConfig.model_validate({"kind": "skeleton", **config})
    found = build_features(made).compute_features(media)["pose"]
    assert found.layout is not None and found.x_TD.dtype == np.float32
    return found.x_TD.reshape(len(found.x_TD), found.layout.num_points, -1)


def test_none_leaves_all_as_it_is() -> None:
    x_TJC = walk()
    media = motion(x_TJC)
    before = media.pose.points_TPJC.copy()
    np.testing.assert_array_equal(features(media, centre="none"), x_TJC)
    features(media, centre="each", scale="bone")
    np.testing.assert_array_equal(media.pose.points_TPJC, before)


def test_the_root_of_the_first_frame_or_of_each() -> None:
    x_TJC = walk()
    np.testing.assert_allclose(features(motion(x_TJC)), x_TJC - x_TJC[0, 0], atol=1e-6)
    each = features(motion(x_TJC), centre="each")
    np.testing.assert_allclose(each, x_TJC - x_TJC[:, :1], atol=1e-6)
    assert (each[:, 0] == 0).all()


def test_bones_are_1_long_on_average_whoever_moves() -> None:
    x_TJC = walk()
    small, large = (features(motion(x_TJC * size), scale="bone") for size in (1, 7))
    np.testing.assert_allclose(small, large, rtol=1e-5, atol=1e-6)
    lengths = [np.linalg.norm(small[:, a] - small[:, b], axis=-1) for a, b in SMPL_22.bones]
    assert np.mean(lengths) == pytest.approx(1, rel=1e-5)


def test_a_stride_takes_frames_and_slows_the_rate() -> None:
    step = build_features(SkeletonFeaturesConfig(kind="skeleton", centre="none", stride=4))
    media = motion(walk())
    found = step.compute_features(media)["pose"]
    assert step.estimate_shapes(media) == {"pose": found.x_TD.shape} == {"pose": (2, 66)}
    assert found.rate_hz == 5
    np.testing.assert_array_equal(found.x_TD[1], media.pose.points_TPJC[4].ravel())


def test_what_was_not_found_is_0_and_counts_in_no_mean() -> None:
    x_TJC = walk()
    x_TJC[3, 21] = 1e6
    found = features(motion(x_TJC, lost=(3, 21)), scale="bone", centre="each")
    assert (found[3, 21] == 0).all() and np.abs(found).max() < 10


def test_a_root_that_is_lost_is_where_it_was_last() -> None:
    x_TJC = walk()
    found = features(motion(x_TJC, lost=(3, 0)), centre="each")
    np.testing.assert_allclose(found[3, 5], x_TJC[3, 5] - x_TJC[2, 0], atol=1e-6)
    found = features(motion(x_TJC, lost=(0, 0)))
    np.testing.assert_allclose(found[2, 5], x_TJC[2, 5] - x_TJC[1, 0], atol=1e-6)


def test_world_landmarks_are_left_out() -> None:
    body = SKELETONS["holistic_33"].layout
    both = PointLayout((("POSE_WORLD_LANDMARKS", BODY_33), *body.components))
    x_TJC = walk(points=66)
    np.testing.assert_array_equal(features(motion(x_TJC, both), centre="none"), x_TJC[:, 33:])
    media = motion(x_TJC, both)
    step = build_features(SkeletonFeaturesConfig(kind="skeleton"))
    assert step.compute_features(media)["pose"].layout == body
    assert step.estimate_shapes(media) == {"pose": (6, 99)}


def test_reasons() -> None:
    still = motion(np.ones((2, 22, 3), np.float32))
    with pytest.raises(ClipError, match="no bone") as caught:
        features(still, scale="bone")
    assert caught.value.reason == "no_bones"
    other = motion(walk(points=2), PointLayout((("TORSO", ("a", "b")),)))
    with pytest.raises(ClipError, match=r"TORSO \(2\)") as caught:
        features(other)
    assert caught.value.reason == "unknown_layout"
    lost = motion(walk(frames=1), lost=(0, 0))
    with pytest.raises(ClipError, match="`pelvis`") as caught:
        features(lost)
    assert caught.value.reason == "no_root"
    nobody = motion(walk())
    nobody.pose.confidence_TPJ[:] = 0
    with pytest.raises(ClipError) as caught:
        features(nobody)
    assert caught.value.reason == "no_people"


def test_the_fingerprint_is_that_of_the_choices() -> None:
    choices = [{}, {"centre": "each"}, {"scale": "bone"}, {"stride": 2}]
    made = [SkeletonFeaturesConfig.model_validate({"kind": "skeleton", **c}) for c in choices]
    assert len({build_features(config).fingerprint for config in made}) == 4


def test_a_point_alone_has_no_bones() -> None:
    nose = PointLayout((("BODY", ("nose",)),))
    ones = np.ones((3, 1, 1, 2), np.float32)
    pose = PoseSequence(ones, ones[..., 0], 20.0, nose)
    features = build_features(SkeletonFeaturesConfig(kind="skeleton", scale="bone"))
    with pytest.raises(ClipError, match="no bone has a length"):
        features.compute_features(SkeletonMotion(pose))
