"""The filter against jitter: polynomials stay, noise shrinks, gaps are never crossed.

Savitzky and Golay (1964): a polynomial up to the order of the fit passes unchanged, and white noise
keeps the root of the sum of the squared weights, which are published: (-3, 12, 17, 12, -3) / 35 for
5 frames and order 2.
"""

import numpy as np
import pytest

from kinesweep.config.recipe.skeletons import SavgolConfig
from kinesweep.core.errors import ClipError
from kinesweep.features.points.jitter_filter import count_window_frames, smooth_points

ALL_FOUND = np.ones((200, 1), bool)


def smoothed(values: object, found: object = None, fps: float = 25, **config: float) -> np.ndarray:
    x_TJC = np.array(values, np.float32).reshape(-1, 1, 1)
    found_TJ = np.ones((len(x_TJC), 1), bool) if found is None else np.array(found, bool)[:, None]
    smooth_points(x_TJC, found_TJ, fps, SavgolConfig(**config))
    return x_TJC.ravel()


def test_the_published_weights() -> None:
    impulse = np.zeros(21)
    impulse[10] = 35
    np.testing.assert_allclose(smoothed(impulse)[8:13], [-3, 12, 17, 12, -3], atol=1e-4)


def test_a_parabola_stays_to_its_ends() -> None:
    parabola = (np.arange(30) - 7.0) ** 2
    np.testing.assert_allclose(smoothed(parabola), parabola, atol=1e-3)


def test_noise_shrinks_by_the_stated_share() -> None:
    noise = np.random.default_rng(0).normal(size=20_000)
    assert smoothed(noise).std() == pytest.approx((17 / 35) ** 0.5, rel=0.02)
    time_s = np.arange(1000) / 25
    swing = np.sin(2 * np.pi * 2 * time_s)
    np.testing.assert_allclose(smoothed(swing)[2:-2], 0.9948 * swing[2:-2], atol=1e-4)


def test_before_fewer_frames_a_tremor_shrinks_to_13_percent() -> None:
    tremor = np.sin(2 * np.pi * 20 * np.arange(600) / 60)
    assert abs(smoothed(tremor, fps=60)[10:-10]).max() < 0.134


@pytest.mark.parametrize(
    ("fps", "frames"), [(24, 5), (25, 5), (29.97, 5), (30, 7), (50, 11), (60, 13), (100, 21)]
)
def test_the_window_holds_what_lies_within_a_tenth_of_a_second(fps: float, frames: int) -> None:
    assert count_window_frames(fps, SavgolConfig()) == frames


def test_gaps_are_not_crossed() -> None:
    values = [*range(10), 1000, *range(50, 60)]
    found = [1] * 10 + [0] + [1] * 10
    result = smoothed(values, found)
    np.testing.assert_allclose(result, values, atol=1e-3)  # each run is a line of its own


def test_short_runs_get_a_shorter_window_or_stay() -> None:
    ragged = [0, 9, 0, 9, 0, 9]
    for length in (1, 2, 3):
        assert smoothed(ragged[:length], fps=50).tolist() == ragged[:length]
    # 5 and 6 frames hold a window of 5, 4 frames one of 3, which order 2 passes through exactly.
    assert smoothed(ragged[:4], fps=50).tolist() == ragged[:4]
    assert smoothed(ragged[:5], fps=50)[2] == pytest.approx(9 * 24 / 35, abs=1e-4)
    assert smoothed(ragged[:4], fps=50, order=1)[1] == pytest.approx(3)


def test_points_are_grouped_but_filtered_each_alone() -> None:
    rng = np.random.default_rng(1)
    x_TJC = rng.normal(size=(60, 5, 3)).astype(np.float32)
    found_TJ = rng.random((60, 5)) > 0.1
    found_TJ[:, 1] = found_TJ[:, 0]
    together = x_TJC.copy()
    smooth_points(together, found_TJ, 25, SavgolConfig())
    for j in range(5):
        alone = x_TJC[:, j : j + 1].copy()
        smooth_points(alone, found_TJ[:, j : j + 1], 25, SavgolConfig())
        np.testing.assert_allclose(together[:, j : j + 1], alone, atol=1e-6)
    np.testing.assert_array_equal(together[~found_TJ], x_TJC[~found_TJ])


@pytest.mark.parametrize("fps", [12.5, 0.0, 5.0])
def test_a_window_that_smooths_nothing_is_named(fps: float) -> None:
    with pytest.raises(ClipError, match=r"window_s") as caught:
        smooth_points(np.zeros((9, 1, 2), np.float32), np.ones((9, 1), bool), fps, SavgolConfig())
    assert caught.value.reason == "smooth_window"


def test_the_window_that_is_advised_is_enough() -> None:
    for fps in (5.0, 12.5, 25.0):
        for order in range(6):
            needed = 2 * ((order + 2) // 2) / fps
            if needed <= 5:
                window = count_window_frames(fps, SavgolConfig(window_s=needed, order=order))
                assert window > order + 1
