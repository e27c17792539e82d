"""Resampling: one motion filmed at seven rates becomes the same poses, within the error of lines.

Linear interpolation between samples a distance h apart misses x(t) by at most h² / 8 · max|x''|
(Davis, Interpolation and Approximation, 1963, theorem 3.1.1 for two points).
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.features.points.resampler import count_resampled_frames, resample_points

RATES = (12.5, 24, 25, 29.97, 30, 50, 60)


class Movement:
    """Three points that swing at up to 3 Hz; the largest acceleration is known."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.amplitude_JC1 = rng.uniform(10, 100, (3, 2, 4))
        self.omega_JC1 = 2 * np.pi * rng.uniform(0.1, 3, (3, 2, 4))
        self.phase_JC1 = rng.uniform(0, 7, (3, 2, 4))

    def at(self, times_T: NDArray[np.float64]) -> NDArray[np.float32]:
        angle = self.omega_JC1 * times_T[:, None, None, None] + self.phase_JC1
        return (self.amplitude_JC1 * np.sin(angle)).sum(-1).astype(np.float32)

    @property
    def max_acceleration(self) -> float:
        return float((self.amplitude_JC1 * self.omega_JC1**2).sum(-1).max())

    @property
    def max_speed(self) -> float:
        return float((self.amplitude_JC1 * self.omega_JC1).sum(-1).max())

    def filmed(self, rate: float, seconds: float) -> NDArray[np.float32]:
        return self.at(np.arange(round(seconds * rate)) / rate)


def resampled(x_TJC: NDArray[np.float32], rate: float, target: float) -> NDArray[np.float32]:
    found = np.ones(x_TJC.shape[:2], np.float32)
    return resample_points(x_TJC, found, rate, target)[0]


@pytest.mark.parametrize("target", [12.5, 25, 29.97, 60])
@pytest.mark.parametrize("seed", range(10))
def test_one_motion_at_seven_rates_becomes_the_same_poses(seed: int, target: float) -> None:
    movement = Movement(seed)
    results = {rate: resampled(movement.filmed(rate, 4), rate, target) for rate in RATES}
    rounding = 1e-3  # float32 of coordinates below 1,000
    for first, second in itertools.combinations(RATES, 2):
        bound = (first**-2 + second**-2) / 8 * movement.max_acceleration + rounding
        # 29.97 · 4 is no whole number, so one clip is longer by less than a frame.
        assert abs(len(results[first]) - len(results[second])) <= 1
        last_common_s = min(round(4 * rate) / rate - 1 / rate for rate in (first, second))
        common = int(last_common_s * target + 1e-6) + 1
        differences = abs(results[first][:common] - results[second][:common])
        assert differences.max() <= bound, (first, second)


@pytest.mark.parametrize("rate", RATES)
def test_each_rate_keeps_to_the_motion_and_holds_its_last_frame(rate: float) -> None:
    movement = Movement(3)
    x_TJC = movement.filmed(rate, 2)
    found = resampled(x_TJC, rate, 25)
    times = np.arange(len(found)) / 25
    errors = abs(found - movement.at(times)).max(axis=(1, 2))
    inside = times <= (len(x_TJC) - 1) / rate + 1e-9
    assert errors[inside].max() <= rate**-2 / 8 * movement.max_acceleration + 1e-3
    assert errors.max() <= movement.max_speed / rate + 1e-3
    assert (found[~inside] == x_TJC[-1]).all()


def test_the_bound_is_tight_enough_to_notice_a_shift_of_half_a_frame() -> None:
    movement = Movement(0)
    shifted = resampled(movement.at(np.arange(100) / 25 + 0.02), 25, 30)
    error = abs(shifted - movement.at(np.arange(len(shifted)) / 30))[:100].max()
    assert error > 2 / 25**2 / 8 * movement.max_acceleration


@pytest.mark.parametrize("frames", [1, 2, 5, 7, 99, 100, 101, 1000])
@pytest.mark.parametrize(("rate", "target"), list(itertools.product((12.5, 24, 30, 50), RATES)))
def test_the_number_of_frames_is_the_rounded_duration(
    frames: int, rate: float, target: float
) -> None:
    exact = frames * Fraction(str(target)) / Fraction(str(rate))
    expected = max(1, int(exact + Fraction(1, 2)))
    assert count_resampled_frames(frames, rate, target) == expected
    assert len(resampled(np.zeros((frames, 1, 2), np.float32), rate, target)) == expected


def test_numbers_by_hand() -> None:
    x_TJC = np.array([0, 10, 20, 30, 40], np.float32).reshape(5, 1, 1)
    assert resampled(x_TJC, 50, 25).ravel().tolist() == [0, 20, 40]
    assert resampled(x_TJC, 25, 50).ravel().tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 40, 40]
    assert resampled(x_TJC, 30, 20).ravel().tolist() == [0, 15, 30]
    assert resampled(x_TJC, 25, 5).ravel().tolist() == [0]


def test_equal_rates_leave_every_bit_even_as_float32() -> None:
    x_TJC, found = np.random.default_rng(0).random((9, 2, 3), np.float32), np.ones((9, 2), "f4")
    for rate in (29.97, float(np.float32(29.97))):
        same, confidence = resample_points(x_TJC, found, rate, 29.97)
        assert same is x_TJC and confidence is found


def test_both_neighbours_must_be_found_unless_a_frame_is_met_exactly() -> None:
    x_TJC = np.array([0, 10, np.nan, 30, 40], np.float32).reshape(5, 1, 1)
    confidence = np.array([1, 0.5, 0, 0.25, 1], np.float32).reshape(5, 1)
    half, kept = resample_points(x_TJC, confidence, 25, 50)
    # At half frames 1½ and 2½ one neighbour is lost; frames 1 and 3 themselves are there.
    assert half.ravel().tolist() == [0, 5, 10, 0, 0, 0, 30, 35, 40, 40]
    assert kept.ravel().tolist() == [1, 0.75, 0.5, 0, 0, 0, 0.25, 0.625, 1, 1]
    assert resample_points(x_TJC, confidence, 50, 25)[1].ravel().tolist() == [1, 0, 1]


def test_rounding_errors_of_long_clips_do_not_lose_points() -> None:
    confidence = np.zeros((30_000, 1), np.float32)
    confidence[::2] = 1  # exactly the frames that remain
    x_TJC = np.ones((30_000, 1, 2), np.float32)
    for rate in (59.94, float(np.float32(59.94))):
        assert resample_points(x_TJC, confidence, rate, 29.97)[1].all()


@pytest.mark.parametrize("rate", [0.0, -25.0, float("nan"), float("inf"), 0.001, 0.6])
def test_a_rate_that_cannot_be_is_named(rate: float) -> None:
    with pytest.raises(ClipError, match=r"frames per second.*features\.fps") as caught:
        count_resampled_frames(1000, rate, 25)
    assert caught.value.reason == "implausible_rate"


def test_no_frames_stay_no_frames() -> None:
    x_TJC, found = np.zeros((0, 2, 3), np.float32), np.zeros((0, 2), np.float32)
    resampled, confidence = resample_points(x_TJC, found, 30, 25)
    assert resampled.shape == (0, 2, 3) and confidence.shape == (0, 2)
    assert count_resampled_frames(0, 30, 25) == 0
