"""`fps`, `missing` and `smooth` in pose and skeleton features: shapes, order of steps, defaults."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.config.recipe.source import PoseFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.features import Features, build_features
from kinesweep.sources.base import SkeletonMotion

FIVE = PointLayout(
    (
        ("POSE_LANDMARKS", ("NOSE", "LEFT_SHOULDER", "RIGHT_SHOULDER", "LEFT_HIP")),
        ("FACE_LANDMARKS", ("0",)),
    )
)
# Written down before these keys existed.
GOLDEN = [
    ({"kind": "pose"}, "a4544d7c71b7f6ee22de6f0171f6a7830be6fc8c20973a4511f1caa52023e780"),
    (
        {"kind": "pose", "points": "all", "stride": 2, "normalize": "none", "hide_legs": False},
        "02e9add63f6335818283a4a9f68b7b439dcab1e11caa9640fc8fe519310662d8",
    ),
    ({"kind": "skeleton"}, "8406416e23e21f414c4d73dff7bccd607ccc3b0884a71451f06e07956c11909d"),
    (
        {"kind": "skeleton", "centre": "each", "scale": "bone", "stride": 3},
        "5686984b3733b3b6152ea0d9196fc26c7e45823601d2910bbcb66ce6b37e224b",
    ),
    (
        {"kind": "skeleton", "reference": {"method": "dtw"}},
        "2aabd4545ae7e88b39a5f78500df94dd142f734555b3356612f8b95548ad0b10",
    ),
]
SETTINGS: list[dict[str, Any]] = [
    {"fps": 25},
    {"missing": "interpolate"},
    {"missing": "mask"},
    {"smooth": {"kind": "savgol"}},
    {"smooth": {"window_s": 0.4}},
]


def step_of(kind: str, **settings: Any) -> Any:
    config = PoseFeaturesConfig if kind == "pose" else SkeletonFeaturesConfig
    return build_features(config.model_validate({"kind": kind, **settings}))


def sequence(frames: int, fps: float, layout: PointLayout = FIVE, lost: float = 0) -> PoseSequence:
    """Random points of which a share was not found, there NaN."""
    rng = np.random.default_rng(frames)
    x_TPJC = rng.normal(100, 30, (frames, 1, layout.num_points, 3)).astype(np.float32)
    found = (rng.random(x_TPJC.shape[:3]) >= lost).astype(np.float32)
    x_TPJC[found == 0] = np.nan
    return PoseSequence(x_TPJC, found, fps, layout)


def compute(kind: str, media: PoseSequence, **settings: Any) -> Features:
    step = step_of(kind, **settings)
    wrapped = media if kind == "pose" else SkeletonMotion(media)
    features: Features = step.compute_features(wrapped)["pose"]
    assert step.estimate_shapes(wrapped)["pose"] == features.x_TD.shape
    return features


@pytest.mark.parametrize(("config", "fingerprint"), GOLDEN)
def test_fingerprints_from_before_these_keys_stay(config: dict[str, Any], fingerprint: str) -> None:
    assert step_of(**config).fingerprint == fingerprint


@pytest.mark.parametrize("kind", ["pose", "skeleton"])
def test_each_setting_has_a_fingerprint_of_its_own(kind: str) -> None:
    prints = [step_of(kind, **settings).fingerprint for settings in [{}, *SETTINGS]]
    assert len(set(prints)) == len(prints)
    explicit = step_of(kind, fps=None, missing="zero", smooth=None)
    assert explicit.fingerprint == prints[0]


@pytest.mark.parametrize("kind", ["pose", "skeleton"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("fps", [None, 12.5, 25.0, 29.97, 60.0])
@pytest.mark.parametrize("missing", ["zero", "interpolate", "mask"])
def test_shapes_are_estimated_exactly(
    kind: str, stride: int, fps: float | None, missing: str
) -> None:
    layout = FIVE if kind == "pose" else SMPL_22.layout
    settings: dict[str, Any] = {"points": "all"} if kind == "pose" else {}
    settings |= {"stride": stride, "fps": fps, "missing": missing}
    for frames, rate in ((1, 25.0), (31, 29.97), (40, 50.0)):
        features = compute(kind, sequence(frames, rate, layout), **settings)
        assert features.rate_hz == pytest.approx((fps or rate) / stride)
        assert features.has_mask == (missing == "mask")
        assert np.isfinite(features.x_TD).all()


def five(values_by_frame: list[float | None], fps: float = 25) -> PoseSequence:
    """Shoulders at (2, 0) and (6, 0); the nose at (x, 0), None where it was not found."""
    frames = len(values_by_frame)
    x_TPJC = np.full((frames, 1, 5, 2), (8, 4), np.float32)
    x_TPJC[:, 0, 1], x_TPJC[:, 0, 2] = (6, 0), (2, 0)
    found = np.ones((frames, 1, 5), np.float32)
    for frame, x in enumerate(values_by_frame):
        x_TPJC[frame, 0, 0] = (np.nan if x is None else x, 0)
        found[frame, 0, 0] = x is not None
    return PoseSequence(x_TPJC, found, fps, FIVE)


def nose(media: PoseSequence, **settings: Any) -> list[list[float]]:
    found = compute("pose", media, points="all", **settings)
    return found.x_TD.reshape(len(found.x_TD), 5, -1)[:, 0].tolist()


def test_missing_points_by_hand() -> None:
    media = five([4, None, None, 16, None])
    # In shoulder widths from the centre (4, 0): 0 to 3.
    assert nose(media) == [[0, 0], [0, 0], [0, 0], [3, 0], [0, 0]]
    assert nose(media, missing="interpolate") == [[0, 0], [1, 0], [2, 0], [3, 0], [3, 0]]
    expected = [[0, 0, 1], [0, 0, 0], [0, 0, 0], [3, 0, 1], [0, 0, 0]]
    assert nose(media, missing="mask") == expected
    assert nose(media, missing="mask", stride=3) == expected[::3]


def test_points_that_are_never_found_and_hidden_legs_stay_zero() -> None:
    media = five([None, None])
    assert nose(media, missing="interpolate") == [[0, 0], [0, 0]]
    features = compute("pose", five([4, 4]), points="all", missing="interpolate").x_TD
    assert (features.reshape(2, 5, 2)[:, 3] == 0).all()
    mask = compute("pose", five([4, 4]), points="all", missing="mask").x_TD.reshape(2, 5, 3)
    assert mask[0, :, 2].tolist() == [1, 1, 1, 0, 1], "the hip is hidden"


def test_center_and_scale_are_those_of_found_points() -> None:
    media = five([4.0] * 6)
    media.points_TPJC[0, 0, 1:3, 0] += 100
    media.confidence_TPJ[1:3, 0, 1] = 0  # the left shoulder; interpolated it would lie far off
    media.points_TPJC[1:3, 0, 1] = np.nan
    plain = compute("pose", media, points="all")
    filled = compute("pose", media, points="all", missing="interpolate")
    found = plain.x_TD != 0
    np.testing.assert_array_equal(filled.x_TD[found], plain.x_TD[found])


def test_resampling_comes_before_normalising_and_before_the_stride() -> None:
    # 4 frames at 50 become frames 0 and 2; the centre of those is that of the clip.
    media = five([0.0, 0.0, 0.0, 0.0], fps=50)
    media.points_TPJC[1::2] += 1000
    assert nose(media, fps=25) == [[-1, 0], [-1, 0]]
    assert nose(media, fps=25, stride=2) == [[-1, 0]]


def test_a_point_lost_at_one_neighbour_is_lost_between() -> None:
    media = five([4, None, 12, 16], fps=25)
    assert nose(media, fps=50, missing="mask")[:5] == [
        [0, 0, 1],
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
        [2, 0, 1],
    ]
    assert nose(media, fps=50, missing="interpolate")[:5] == [[x / 2, 0] for x in range(5)]


def test_smoothing_keeps_lines_and_calms_jitter() -> None:
    line = five([float(x) for x in range(20)])
    assert np.allclose(nose(line, smooth={}), nose(line), atol=1e-5)
    ragged = five([4.0 + 4 * (x % 2) for x in range(20)])
    calm = np.array(nose(ragged, smooth={}))[:, 0]
    assert np.ptp(calm[4:-4]) < 0.5 * np.ptp(np.array(nose(ragged))[:, 0])


def skeleton_rows(x_TJC: NDArray[np.float32], **settings: Any) -> Features:
    media = PoseSequence(
        x_TJC[:, None],
        (~np.isnan(x_TJC[:, None, :, 0])).astype(np.float32),
        25.0,
        SMPL_22.layout,
    )
    return compute("skeleton", media, **settings)


def test_a_skeleton_follows_its_root_through_a_gap() -> None:
    x_TJC = np.zeros((5, 22, 3), np.float32)
    x_TJC += np.arange(5, dtype=np.float32)[:, None, None]  # everything moves as one
    x_TJC[:, 1:] += 1
    x_TJC[2, 0] = np.nan  # the root, once
    held = skeleton_rows(x_TJC, centre="each").x_TD.reshape(5, 22, 3)
    filled = skeleton_rows(x_TJC, centre="each", missing="interpolate").x_TD.reshape(5, 22, 3)
    assert held[2, 1, 0] == 2, "from the last known place"
    assert (filled[:, 1:] == 1).all() and (filled[:, 0] == 0).all()
    mask = skeleton_rows(x_TJC, centre="each", missing="mask").x_TD.reshape(5, 22, 4)
    assert mask[:, 0, 3].tolist() == [1, 1, 0, 1, 1] and (mask[..., :3] == held).all()


def test_a_reference_is_resampled_too_and_gets_its_own_mask() -> None:
    media = sequence(50, 50.0, SMPL_22.layout, lost=0.2)
    reference = sequence(30, 30.0, SMPL_22.layout)
    step = step_of(
        "skeleton", reference={"method": "window"}, fps=25, missing="mask", centre="none"
    )
    streams = step.compute_features(SkeletonMotion(media, reference))
    assert {x.x_TD.shape for x in streams.values()} == {(25, 22 * 4)}
    masks = {name: x.x_TD.reshape(25, 22, 4)[..., 3] for name, x in streams.items()}
    assert masks["reference"].all() and not masks["pose"].all()
    plain = step_of("skeleton", reference={"method": "window"})
    with pytest.raises(ClipError, match="frames per second"):
        plain.compute_features(SkeletonMotion(media, reference))


@pytest.mark.parametrize(
    "settings",
    [
        {"fps": 0},
        {"fps": float("nan")},
        {"fps": 1e9},
        {"missing": "nan"},
        {"smooth": {"kind": "median"}},
        {"smooth": {"window_s": 0}},
        {"smooth": {"order": 9}},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        step_of("pose", **settings)


def test_a_window_too_short_for_a_clip_is_known_beforehand() -> None:
    step = step_of("pose", points="all", smooth={})
    for compute_one in (step.compute_features, step.estimate_shapes):
        with pytest.raises(ClipError, match="window_s"):
            compute_one(sequence(9, 12.5))


def test_a_clip_of_an_impossible_rate_is_a_counted_error() -> None:
    for rate in (0.0, float("nan"), 0.01):
        step = step_of("pose", points="all", fps=25)
        for compute_one in (step.compute_features, step.estimate_shapes):
            with pytest.raises(ClipError, match=r"features\.fps") as caught:
                compute_one(sequence(5, rate))
            assert caught.value.reason == "implausible_rate"
