"""Gaps in the detection of a point: filled with lines, held at the ends, or told by a mask."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinesweep.config.recipe.source import PoseFeaturesConfig
from kinesweep.features.points import make_no_people_error, prepare_points
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


@pytest.mark.parametrize("fps", [12.0, 12.5, 25.0, 30.0, 60.0])
def test_gaps_are_filled_between_detections_before_resampling(fps: float) -> None:
    """Points that are found in every second, every third or no frame, in one frame and in all."""
    x_TJC = np.random.default_rng(1).normal(size=(48, 5, 2)).astype(np.float32)
    confidence_TJ = np.zeros((48, 5), np.float32)
    confidence_TJ[1::2, 0] = confidence_TJ[::3, 1] = confidence_TJ[5, 2] = confidence_TJ[:, 3] = 0.9
    expected = slow(x_TJC, confidence_TJ > 0)
    config = PoseFeaturesConfig(fps=fps, missing="interpolate")
    points = prepare_points(x_TJC.copy(), confidence_TJ, 24.0, config)
    times = np.minimum(np.arange(len(points.x_TJC)) * 24 / fps, 47)
    for j in range(5):
        wanted = np.stack([np.interp(times, np.arange(48), expected[:, j, c]) for c in (0, 1)], 1)
        np.testing.assert_allclose(points.x_TJC[:, j], wanted, atol=1e-5)
        assert (points.known_TJ[:, j] == (j != 4)).all()
        # Each point that is found at all takes part in means.
        assert points.detected_TJ[:, j].any() == (j != 4)
    assert not (points.detected_TJ & ~points.known_TJ).any() and points.detected_TJ[:, 3].all()
    # Without filling, a point that is found in every second frame is lost or stays as it is.
    zeros = prepare_points(
        x_TJC.copy(), confidence_TJ, 24.0, PoseFeaturesConfig(fps=fps, missing="zero")
    )
    assert zeros.known_TJ is zeros.detected_TJ and not zeros.detected_TJ[:, 0].all()


def test_detections_that_resampling_loses_are_told_from_none() -> None:
    confidence_TJ = np.zeros((9, 2), np.float32)
    assert "detected in any frame" in str(make_no_people_error(confidence_TJ, 12.0))
    confidence_TJ[1::2] = 1
    error = make_no_people_error(confidence_TJ, 12.0)
    assert error.reason == "no_people" and "`features.missing: interpolate`" in str(error)
