"""References are laid beside clips by how bodies move: not by where they stand, or how tall."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.features import build_features
from kinesweep.sources.base import SkeletonMotion

Frames = NDArray[np.float32]
FIRST = 8
"""Frames that a coach walks before he shows the motion."""


def sequence(x_TJC: Frames) -> PoseSequence:
    found_TPJ = np.ones((len(x_TJC), 1, 22), np.float32)
    return PoseSequence(x_TJC[:, None].copy(), found_TPJ, 20.0, SMPL_22.layout)


def dance(frames: int, seed: int = 0) -> Frames:
    """A body whose joints swing about it; its root moves a little, too."""
    rng = np.random.default_rng(seed)
    body_JC, swing_JC = rng.normal(size=(22, 3)), rng.normal(size=(22, 3))
    phase_T = np.linspace(0, 3, frames)[:, None, None]
    return (body_JC + np.sin(phase_T + swing_JC)).astype(np.float32)


def streams(clip: PoseSequence, coach: PoseSequence, **features: object) -> tuple[Frames, Frames]:
    """Clip and reference as (T, 22, 3)."""
    config = SkeletonFeaturesConfig.model_validate({"kind": "skeleton", **features})
    found = build_features(config).compute_features(SkeletonMotion(clip, coach))
    x_TD, r_TD = found["pose"].x_TD, found["reference"].x_TD
    assert x_TD.shape == r_TD.shape
    return x_TD.reshape(-1, 22, 3), r_TD.reshape(-1, 22, 3)


@pytest.mark.parametrize("centre", ["first", "each", "none"])
@pytest.mark.parametrize("method", ["window", "dtw"])
def test_neither_place_nor_size_moves_an_alignment(method: str, centre: str) -> None:
    x_TJC = dance(30)
    walk_TJC = 0.5 * np.arange(30, dtype=np.float32)[:, None, None]
    r_TJC = 1.5 * x_TJC + walk_TJC + 40
    if method == "dtw":
        r_TJC = np.repeat(r_TJC, 2, axis=0)
    reference = {"method": method}
    x, r = streams(sequence(x_TJC), sequence(r_TJC), centre=centre, reference=reference)
    about_root = (r - r[:, :1]) - 1.5 * (x - x[:, :1])
    np.testing.assert_allclose(about_root, 0, atol=1e-4)


@pytest.mark.parametrize("method", ["window", "soft_dtw"])
def test_a_coach_who_walks_up_first_stands_where_the_clip_does(method: str) -> None:
    """With the root of the first frame at 0, that frame is the first that is shown."""
    x_TJC = dance(30)
    up_TJC = np.linspace(-9, -1, FIRST, dtype=np.float32)[:, None, None] + dance(FIRST, seed=1)
    r_TJC = np.concatenate([up_TJC, x_TJC])
    reference = {"method": method}
    x, r = streams(sequence(x_TJC), sequence(r_TJC), centre="first", reference=reference)
    np.testing.assert_array_equal(r[0, 0], 0)
    if method == "window":
        np.testing.assert_allclose(r, x, atol=1e-5)


@pytest.mark.parametrize("method", ["soft_dtw", "none"])
def test_points_that_were_not_found_are_in_no_mean(method: str) -> None:
    x_TJC = 5 + 0.1 * dance(12)
    coach = sequence(np.repeat(x_TJC, 2, axis=0)[:-1])
    coach.confidence_TPJ[::3, 0, 20] = 0
    coach.points_TPJC[::3, 0, 20] = 0
    _, r = streams(sequence(x_TJC), coach, centre="none", reference={"method": method})
    wrist_TC = r[:, 20]
    seen_T = (wrist_TC != 0).any(axis=1)
    assert seen_T.sum() > 6
    np.testing.assert_allclose(wrist_TC[seen_T], x_TJC[seen_T, 20], atol=0.3)
