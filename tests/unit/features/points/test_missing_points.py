"""Gaps in the detection of a point: filled with lines, held at the ends, or told by a mask."""

import numpy as np
from numpy.typing import NDArray

from kinesweep.features.points.missing_points import (
    append_detection_mask,
    interpolate_missing_points,
)

NAN = float("nan")


def fill(*values: float) -> list[float]:
    """One point with one coordinate; NaN where it was not found."""
    x_TJC = np.array(values, np.float32).reshape(-1, 1, 1)
    known = interpolate_missing_points(x_TJC, ~np.isnan(x_TJC[..., 0]))
    return np.where(known[..., None], x_TJC, 0).ravel().tolist()


def test_numbers_by_hand() -> None:
    assert fill(1, NAN, NAN, 4) == [1, 2, 3, 4]
    assert fill(NAN, 2, NAN, 6, NAN, NAN) == [2, 2, 4, 6, 6, 6]
    assert fill(NAN, NAN, 5) == [5, 5, 5]
    assert fill(NAN, NAN) == [0, 0]
    assert fill(7) == [7] and fill(NAN) == [0] and fill(1, 2) == [1, 2]


def slow(x_TJC: NDArray[np.float32], found_TJ: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The same by `np.interp`, one coordinate at a time."""
    frames = np.arange(len(x_TJC))
    result = np.zeros(x_TJC.shape)
    for j in range(x_TJC.shape[1]):
        there = np.flatnonzero(found_TJ[:, j])
        for c in range(x_TJC.shape[2] if len(there) else 0):
            result[:, j, c] = np.interp(frames, there, x_TJC[there, j, c])
    return result


def test_random_gaps_are_filled_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        x_TJC = rng.normal(size=(40, 12, 3)).astype(np.float32)
        found_TJ = rng.random((40, 12)) >= share
        x_TJC[~found_TJ] = np.nan
        expected = slow(x_TJC, found_TJ)
        before = x_TJC.copy()
        known_TJ = interpolate_missing_points(x_TJC, found_TJ)
        assert (known_TJ == found_TJ.any(axis=0)).all()
        np.testing.assert_allclose(np.where(known_TJ[..., None], x_TJC, 0), expected, atol=1e-5)
        np.testing.assert_array_equal(x_TJC[found_TJ], before[found_TJ])


def test_the_mask_stands_behind_the_coordinates_of_its_point() -> None:
    x_TJC = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    found_TJ = np.array([[1, 0, 1], [0, 1, 1]], bool)
    values = append_detection_mask(x_TJC, found_TJ)
    assert values[0].tolist() == [[0, 1, 1], [2, 3, 0], [4, 5, 1]]
    assert (values[..., :-1] == x_TJC).all() and (values[..., -1] == found_TJ).all()
