"""Pose features: numbers by hand on five points, and pose-format's own chain on whole layouts."""

import pickle
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pose_format import Pose
from pose_format.utils.generic import pose_hide_legs, reduce_holistic

from kinesweep.config.recipe.source import PoseFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.features import FeatureStep, build_features
from kinesweep.sources.synthetic.layout import NUM_POINTS, encode_pose

FIVE = PointLayout(
    (
        ("POSE_LANDMARKS", ("NOSE", "LEFT_SHOULDER", "RIGHT_SHOULDER", "LEFT_HIP")),
        ("FACE_LANDMARKS", ("0",)),
    )
)


def step_of(**settings: Any) -> FeatureStep:
    return build_features(PoseFeaturesConfig(**{"points": "all", **settings}))


def five_points(frames: int = 2) -> PoseSequence:
    """Shoulders at (2, 0) and (6, 0): centre (4, 0), distance 4; the hip and all else at (8, 4)."""
    points_TPJC = np.full((frames, 1, 5, 2), (8, 4), np.float32)
    points_TPJC[:, 0, 1], points_TPJC[:, 0, 2] = (6, 0), (2, 0)
    return PoseSequence(points_TPJC, np.ones((frames, 1, 5), np.float32), 24, FIVE)


def from_bytes(content: bytes) -> PoseSequence:
    """A file as pose-format reads it, so that these tests do not lean on our own reader."""
    pose = Pose.read(content)
    layout = tuple((part.name, tuple(part.points)) for part in pose.header.components)
    body = pose.body
    return PoseSequence(
        np.array(body.data.data), np.array(body.confidence), body.fps, PointLayout(layout)
    )


def their_chain(content: bytes, reduce: bool) -> NDArray[np.float32]:
    pose = pose_hide_legs(Pose.read(content))
    pose = (reduce_holistic(pose) if reduce else pose).normalize()
    zeroed = pose.body.torch().zero_filled().data[:, 0]
    return np.asarray(zeroed.reshape(len(zeroed), -1).numpy())


def random_holistic(frames: int = 9, lost_share: float = 0.2) -> bytes:
    rng = np.random.default_rng(3)
    points = rng.normal(300, 90, (frames, NUM_POINTS, 3)).astype(np.float32)
    confidence = rng.random((frames, NUM_POINTS)).astype(np.float32)
    confidence[rng.random(confidence.shape) < lost_share] = 0
    return encode_pose(points, confidence)


def test_numbers_by_hand() -> None:
    features = step_of()(five_points())
    # (8, 4) is (1, 1) from the centre in shoulder distances; the hip is a leg: 0.
    assert features.tolist() == [[1, 1, 0.5, 0, -0.5, 0, 0, 0, 1, 1]] * 2
    assert features.dtype == np.float32


def test_settings() -> None:
    pose = five_points(5)
    assert step_of(hide_legs=False)(pose)[0, 6:8].tolist() == [1, 1]
    assert step_of(normalize="none")(pose)[0].tolist() == [8, 4, 6, 0, 2, 0, 0, 0, 8, 4]
    assert len(step_of(stride=2)(pose)) == 3
    assert step_of(stride=2).compute_rate_hz(24) == 12


def test_the_stride_comes_after_normalising() -> None:
    pose = five_points(2)
    pose.points_TPJC[1] += 40  # moves the centre of the clip by 20, although the frame is left out
    assert step_of(stride=2)(pose)[0, :2].tolist() == [-4, -4]


def test_one_centre_and_scale_from_the_frames_with_both_shoulders() -> None:
    pose = five_points(3)
    pose.points_TPJC[2] = 1e6
    pose.confidence_TPJ[2, 0, 2] = 0  # one shoulder lost: the frame has no say
    assert step_of()(pose)[0].tolist() == [1, 1, 0.5, 0, -0.5, 0, 0, 0, 1, 1]


def test_zero_where_nothing_was_found_even_if_the_file_says_nan() -> None:
    pose = five_points()
    pose.points_TPJC[1, 0, 0], pose.confidence_TPJ[1, 0, 0] = np.nan, 0
    assert step_of()(pose)[1].tolist() == [0, 0, 0.5, 0, -0.5, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("settings", [{}, {"normalize": "none"}, {"points": "holistic_178"}])
def test_the_input_stays_as_it_is(settings: dict[str, Any]) -> None:
    pose = from_bytes(random_holistic()) if "points" in settings else five_points()
    points, confidence = pose.points_TPJC.copy(), pose.confidence_TPJ.copy()
    step_of(**settings)(pose)
    np.testing.assert_array_equal(pose.points_TPJC, points)
    np.testing.assert_array_equal(pose.confidence_TPJ, confidence)


@pytest.mark.parametrize("lost_share", [0.0, 0.2])
@pytest.mark.parametrize(("points", "width"), [("holistic_178", 534), ("all", 1728)])
def test_numbers_are_pose_format_s(points: str, width: int, lost_share: float) -> None:
    content = random_holistic(lost_share=lost_share)
    ours = step_of(points=points)(from_bytes(content))
    assert ours.shape == (9, width)
    theirs = their_chain(content, reduce=points == "holistic_178")
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_refined_faces_and_reduced_files_give_the_same_178_points() -> None:
    content = random_holistic()
    whole = from_bytes(content)
    reduced = reduce_holistic(Pose.read(content))
    buffer = BytesIO()
    reduced.write(buffer)
    step = step_of(points="holistic_178")
    np.testing.assert_array_equal(step(from_bytes(buffer.getvalue())), step(whole))


def lose(pose: PoseSequence, *joints: int) -> PoseSequence:
    pose.confidence_TPJ[:, :, list(joints)] = 0
    return pose


def in_one_place(pose: PoseSequence) -> PoseSequence:
    pose.points_TPJC[:, :, 1:3] = 5
    return pose


def with_nan(pose: PoseSequence) -> PoseSequence:
    pose.points_TPJC[1, 0, 4] = np.nan
    return pose


@pytest.mark.parametrize(
    ("pose", "reason", "words"),
    [
        (lose(five_points(), 0, 1, 2, 3, 4), "no_people", "in any frame"),
        (lose(five_points(), 1), "no_shoulders", "no frame shows both"),
        (in_one_place(five_points()), "no_shoulders", "at the same position"),
        (with_nan(five_points()), "nan_frames", "not finite numbers"),
    ],
)
def test_clips_that_cannot_be_used(pose: PoseSequence, reason: str, words: str) -> None:
    with pytest.raises(ClipError, match=words) as caught:
        step_of()(pose)
    assert caught.value.reason == reason


def test_hidden_legs_alone_are_no_person() -> None:
    with pytest.raises(ClipError) as caught:
        step_of(normalize="none")(lose(five_points(), 0, 1, 2, 4))
    assert caught.value.reason == "no_people"


def test_fingerprints_name_the_configuration() -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"points": "holistic_178"},
        {"hide_legs": False},
        {"normalize": "none"},
        {"stride": 2},
    ]
    assert len({step_of(**setting).fingerprint for setting in settings}) == len(settings)
    assert step_of().fingerprint == step_of(stride=1).fingerprint


def test_steps_pickle() -> None:
    step = step_of(stride=2)
    again = pickle.loads(pickle.dumps(step))
    assert (again.streams, again.fingerprint) == (("pose",), step.fingerprint)
    np.testing.assert_array_equal(again(five_points()), step(five_points()))
