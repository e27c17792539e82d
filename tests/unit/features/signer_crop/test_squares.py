"""The square of a clip: equal to what a reader of the documentation would compute by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinesweep.config.recipe.features.signer_crop import SignerCropConfig
from kinesweep.features.signer_crop.squares import (
    FoundBoxes,
    compute_center_square,
    compute_squares,
)

NAN = (np.nan,) * 4
NONE = {"left": 0, "right": 0, "up": 0, "down": 0}


def found(
    *boxes: tuple[float, ...], step: int = 1, size: tuple[int, int] = (100, 200)
) -> FoundBoxes:
    frames = np.arange(len(boxes)) * step
    return FoundBoxes(np.array(boxes, float), frames, int(frames[-1]) + step, 10.0, *size)


def crop(**changes: object) -> SignerCropConfig:
    return SignerCropConfig.model_validate({"outliers": 0, "expand": NONE, **changes})


def square(boxes: FoundBoxes, config: SignerCropConfig) -> tuple[list[list[int]], int]:
    squares = compute_squares(boxes, config)
    assert squares is not None
    return squares.corners_T2.tolist(), squares.side


def test_one_square_a_clip_holds_all_boxes() -> None:
    """Union 20…60 × 10…34: side 40, about (40, 22)."""
    boxes = found((20, 10, 50, 30), NAN, (30, 12, 60, 34))
    assert square(boxes, crop()) == ([[20, 2]], 40)


def test_each_side_is_enlarged_by_its_share() -> None:
    """40 × 24 grows to 20-8…60+20 × 10-24…34+48: 68 × 96, about (46, 34)."""
    boxes = found((20, 10, 60, 34))
    expand = {"left": 0.2, "right": 0.5, "up": 1, "down": 2}
    assert square(boxes, crop(expand=expand)) == ([[46 - 48, 34 - 48]], 96)


@pytest.mark.parametrize(("over_frames", "edges"), [("median", (20, 40)), ("mean", (26, 46))])
def test_other_ways_to_combine_frames(over_frames: str, edges: tuple[int, int]) -> None:
    lefts = (10, 20, 48)
    boxes = found(*((left, 0, left + 20, 20) for left in lefts))
    left, right = edges
    assert square(boxes, crop(over_frames=over_frames)) == ([[left, 0]], right - left)


def test_outliers_do_not_widen_the_square() -> None:
    boxes = [(20.0, 10.0, 60.0, 50.0)] * 39 + [(0.0, 0.0, 200.0, 100.0)]
    assert square(found(*boxes), crop(outliers=0.05)) == ([[20, 10]], 40)
    assert square(found(*boxes), crop()) == ([[0, -50]], 200)


def test_what_reaches_outside_is_padded_or_shifted() -> None:
    boxes = found((150, 0, 190, 20))
    wide = {**NONE, "left": 0.5, "right": 0.5}
    assert square(boxes, crop(expand=wide)) == ([[130, -30]], 80)
    assert square(boxes, crop(expand=wide, outside="shift")) == ([[120, 0]], 80)
    assert square(found((0, 0, 200, 50)), crop(outside="shift")) == ([[50, 0]], 100)


def test_a_smoothed_square_follows_the_median_of_a_window() -> None:
    """One wild box of seven does not move it; its side is that of the largest box."""
    lefts = [10, 10, 10, 90, 14, 18, 22]
    boxes = found(*((left, 20, left + 10, 20 + 10 + 2 * (n == 6)) for n, left in enumerate(lefts)))
    corners, side = square(boxes, crop(movement="smoothed", window_s=0.2))
    centers = [left + 5 for left in lefts]
    wanted = [float(np.median(centers[max(0, n - 1) : n + 2])) for n in range(7)]
    assert side == 12
    assert [left for left, _ in corners] == [int(np.floor(x - 6 + 0.5)) for x in wanted]


def test_a_smoothed_square_is_linear_between_the_frames_of_a_detector() -> None:
    boxes = found((0, 0, 10, 10), NAN, (40, 0, 50, 10), step=5)
    corners, _ = square(boxes, crop(movement="smoothed", window_s=0.01))
    assert [left for left, _ in corners] == [4 * n for n in range(11)] + [40] * 4


def test_too_few_frames_give_no_square() -> None:
    boxes = found(*([NAN] * 9), (1, 2, 3, 4))
    assert compute_squares(boxes, crop(min_found=0.2)) is None
    assert compute_squares(boxes, crop(min_found=0.1)) is not None
    assert compute_squares(found(NAN, NAN), crop(min_found=0)) is None


def test_the_square_of_a_clip_without_a_signer() -> None:
    half = compute_center_square(100, 200, 0.5)
    assert (half.corners_T2.tolist(), half.side) == ([[75, 25]], 50)


def test_a_random_clip_equals_a_plain_loop() -> None:
    """Quantiles, enlargement and rounding, written as loops."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        corners = rng.uniform(0, 80, (15, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 60, (15, 2))], axis=1)
        boxes[rng.random(15) < 0.3] = np.nan
        config = SignerCropConfig(outliers=0.1)
        edges = []
        for axis, share in ((0, 0.1), (1, 0.1), (2, 0.9), (3, 0.9)):
            edges.append(_quantile(boxes[:, axis], share))
        width, height = edges[2] - edges[0], edges[3] - edges[1]
        left, right = edges[0] - 0.1 * width, edges[2] + 0.1 * width
        top, bottom = edges[1] - 0.1 * height, edges[3] + 0.1 * height
        side = int(max(right - left, bottom - top) + 0.5)
        middle = (left + right) / 2, (top + bottom) / 2
        wanted = [[int(np.floor(value - side / 2 + 0.5)) for value in middle]]
        assert square(found(*map(tuple, boxes)), config) == (wanted, side)


def _quantile(values: NDArray[np.float64], share: float) -> float:
    """Linear between the two nearest ranks."""
    ordered = sorted(value for value in values if not np.isnan(value))
    rank = share * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (rank - low) * (ordered[high] - ordered[low]))
