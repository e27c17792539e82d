"""Thumbnails: means of parts, for sides that 16 divides and for others."""

import numpy as np
import pytest

from kinesweep.evaluation.frame_thumbnails import make_thumbnail


@pytest.mark.parametrize(("size", "side"), [(32, 16), (37, 16), (8, 8)])
def test_each_pixel_is_the_mean_of_its_part(size: int, side: int) -> None:
    frame = np.random.default_rng(size).random((size, size, 3), np.float32)
    found = make_thumbnail(frame.reshape(-1), size).reshape(side, side, 3)
    bounds = [size * place // side for place in range(side + 1)]
    for row in range(side):
        for column in range(side):
            part = frame[bounds[row] : bounds[row + 1], bounds[column] : bounds[column + 1]]
            np.testing.assert_allclose(found[row, column], part.mean((0, 1)), rtol=1e-5)
