"""Alignment against brute force: loops over cells, windows and, where there are few, all paths."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.features.alignment import best_window, dtw, same_moments, soft_dtw

Floats = NDArray[np.float64]
Cells = list[tuple[int, int]]


def pairs(count: int, longest: int = 30, seed: int = 0) -> Iterator[tuple[Floats, Floats]]:
    """Motions of different lengths; every other pair of few whole numbers, so that costs tie."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        frames, others = rng.integers(1, longest, size=2)
        width = int(rng.integers(1, 5))
        if number % 2:
            yield rng.normal(size=(frames, width)), rng.normal(size=(others, width))
        else:
            yield rng.integers(0, 3, (frames, width)) * 1.0, rng.integers(0, 3, (others, width)) * 1


def distance(x: Floats, r: Floats) -> float:
    return float(((x - r) ** 2).sum())


def slow_window(x_TD: Floats, r_RD: Floats) -> tuple[int, float]:
    """Every stretch of the longer one, one frame after another."""
    short, long, sign = (x_TD, r_RD, 1) if len(x_TD) <= len(r_RD) else (r_RD, x_TD, -1)
    best, least = 0, np.inf
    for offset in range(len(long) - len(short) + 1):
        cost = sum(distance(short[i], long[offset + i]) for i in range(len(short)))
        if cost < least - 1e-9:
            best, least = offset, cost
    return sign * best, least


def slow_dtw(x_TD: Floats, r_RD: Floats) -> tuple[Cells, float]:
    """The textbook's two loops and the way back."""
    sums = np.full((len(x_TD) + 1, len(r_RD) + 1), np.inf)
    sums[0, 0] = 0
    for t in range(len(x_TD)):
        for r in range(len(r_RD)):
            before = min(sums[t, r], sums[t, r + 1], sums[t + 1, r])
            sums[t + 1, r + 1] = distance(x_TD[t], r_RD[r]) + before
    t, r = len(x_TD), len(r_RD)
    path = [(t - 1, r - 1)]
    while (t, r) != (1, 1):
        steps = [(t - 1, r - 1), (t - 1, r), (t, r - 1)]
        t, r = min(steps, key=lambda cell: sums[cell])  # of equals the first
        path.append((t - 1, r - 1))
    return path[::-1], float(sums[-1, -1])


def all_paths(frames: int, others: int) -> Iterator[Cells]:
    """Every path there is; 1,683 of 6 × 6."""
    if (frames, others) == (1, 1):
        yield [(0, 0)]
        return
    for rows, columns in ((1, 1), (1, 0), (0, 1)):
        if frames > rows and others > columns:
            for path in all_paths(frames - rows, others - columns):
                yield [*path, (frames - 1, others - 1)]


def test_windows_equal_brute_force() -> None:
    for x_TD, r_RD in pairs(200):
        found = best_window(x_TD, r_RD)
        offset, cost = slow_window(x_TD, r_RD)
        assert found.offset == offset
        assert found.cost == pytest.approx(cost)
        wanted = [min(max(t + offset, 0), len(r_RD) - 1) for t in range(len(x_TD))]
        assert found.indices_T.tolist() == wanted


def test_warps_equal_brute_force() -> None:
    ties = 0
    for x_TD, r_RD in pairs(200):
        found = dtw(x_TD, r_RD)
        path, cost = slow_dtw(x_TD, r_RD)
        assert [tuple(pair) for pair in found.path_K2.tolist()] == path
        assert found.cost == pytest.approx(cost)
        for t, frame in enumerate(found.indices_T):
            own = [r for row, r in path if row == t]
            costs = [distance(x_TD[t], r_RD[r]) for r in own]
            assert frame == own[int(np.argmin(costs))]
            ties += len(set(costs)) < len(costs)
    assert ties > 100


@pytest.mark.parametrize("gamma", [0.05, 1.0, 20.0])
def test_soft_warps_are_the_mean_of_all_paths(gamma: float) -> None:
    for x_TD, r_RD in pairs(20, longest=7, seed=1):
        found = soft_dtw(x_TD, r_RD, gamma)
        every = list(all_paths(len(x_TD), len(r_RD)))
        costs = np.array([sum(distance(x_TD[t], r_RD[r]) for t, r in path) for path in every])
        weights = np.exp(-(costs - costs.min()) / gamma)
        expected = np.zeros((len(x_TD), len(r_RD)))
        for path, weight in zip(every, weights / weights.sum(), strict=True):
            for cell in path:
                expected[cell] += weight
        np.testing.assert_allclose(found.expected_TR, expected, atol=1e-12)
        assert found.cost == pytest.approx(costs.min() - gamma * np.log(weights.sum()))
        assert found.cost <= dtw(x_TD, r_RD).cost + 1e-9


def test_soft_warps_harden() -> None:
    """With a small gamma they are DTW's, where that is the only cheapest path."""
    for x_TD, r_RD in list(pairs(40, seed=2))[1::2]:
        hard, soft = dtw(x_TD, r_RD), soft_dtw(x_TD, r_RD, 1e-5)
        assert soft.cost == pytest.approx(hard.cost, abs=1e-3)
        on_path = np.zeros(soft.expected_TR.shape)
        on_path[tuple(hard.path_K2.T)] = 1
        np.testing.assert_allclose(soft.expected_TR, on_path, atol=1e-3)


def test_long_motions_do_not_run_out_of_numbers() -> None:
    rng = np.random.default_rng(3)
    x_TD, r_RD = 100 * rng.normal(size=(300, 9)), 100 * rng.normal(size=(280, 9))
    found = soft_dtw(x_TD, r_RD, 0.01)
    assert np.isfinite(found.cost)
    assert found.expected_TR.sum(axis=1).min() > 1 - 1e-9
    assert found.expected_TR.sum(axis=0).min() > 1 - 1e-9


def test_a_motion_is_found_within_a_longer_one() -> None:
    rng = np.random.default_rng(4)
    long_TD = rng.normal(size=(20, 6)).astype(np.float32)
    inside = best_window(long_TD[5:12], long_TD)
    assert (inside.offset, inside.cost) == (5, 0)
    np.testing.assert_array_equal(inside.of(long_TD), long_TD[5:12])
    around = best_window(long_TD, long_TD[5:12])
    assert around.offset == -5
    np.testing.assert_array_equal(around.of(long_TD[5:12])[5:12], long_TD[5:12])


def test_a_slower_motion_is_followed() -> None:
    r_RD = np.arange(6, dtype=np.float32)[:, None]
    x_TD = np.repeat(r_RD, 2, axis=0)
    assert dtw(x_TD, r_RD).cost == 0
    np.testing.assert_array_equal(dtw(x_TD, r_RD).of(r_RD), x_TD)
    np.testing.assert_allclose(soft_dtw(x_TD, r_RD, 0.01).of(r_RD), x_TD, atol=1e-6)
    np.testing.assert_array_equal(r_RD[same_moments(12, 6)], x_TD)
    assert same_moments(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert same_moments(3, 9).tolist() == [1, 4, 7]


def test_a_motion_is_its_own_reference() -> None:
    x_TD = np.random.default_rng(5).normal(size=(9, 4)).astype(np.float32)
    for found in (best_window(x_TD, x_TD), dtw(x_TD, x_TD)):
        assert found.cost == 0
        np.testing.assert_array_equal(found.of(x_TD), x_TD)


@pytest.mark.parametrize(
    ("x", "r", "says"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), "shapes"),
        (np.zeros((0, 2)), np.zeros((3, 2)), "need frames"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), "finite"),
    ],
)
def test_what_cannot_be_aligned(x: Floats, r: Floats, says: str) -> None:
    for align in (best_window, dtw, lambda a, b: soft_dtw(a, b, 1.0)):
        with pytest.raises(InputError, match=says):
            align(x, r)
    with pytest.raises(InputError, match="above 0"):
        soft_dtw(x, r, 0.0)


def test_a_thousand_pairs_take_seconds() -> None:
    """Under 5 ms a pair of 100 × 66: this process's time, the best of some tries."""
    made = np.random.default_rng(6).normal(size=(20, 2, 100, 66)).astype(np.float32)
    for align in (best_window, dtw, lambda x, r: soft_dtw(x, r, 1.0)):
        tries = []
        for _ in range(5):
            began = time.process_time()
            for x_TD, r_RD in made:
                align(x_TD, r_RD)
            tries.append(time.process_time() - began)
        assert min(tries) / len(made) * 1000 < 5
