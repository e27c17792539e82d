"""Augmentation of points with a mask: the mask moves with its point and is never changed."""

import numpy as np

from kinesweep.config.recipe.augmentation import AugmentationConfig
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.features.augmentation import build_augmentation

HANDS = PointLayout((("LEFT_HAND", ("a", "b")), ("RIGHT_HAND", ("a", "b"))))


def vary(x_TJC: np.ndarray, has_mask: bool, **config: float) -> np.ndarray:
    width = x_TJC.shape[1] * x_TJC.shape[2]
    schema = StoreSchema({"pose": StreamSchema(width, 25.0, "float32", HANDS, has_mask)})
    augmentation = build_augmentation(AugmentationConfig(**config), schema, 1, 1000)
    assert augmentation is not None
    x_TD = augmentation({"pose": x_TJC.reshape(len(x_TJC), -1)}, "c", 0)["pose"]
    return x_TD.reshape(len(x_TD), 4, -1)


def points() -> np.ndarray:
    """Two coordinates and the mask; a found point lies exactly at 0, another is lost."""
    x_TJC = np.arange(1, 61, dtype=np.float32).reshape(5, 4, 3) / 8
    x_TJC[..., 2] = 1
    x_TJC[:, 1, :2] = 0
    x_TJC[2:4, 3] = 0
    return x_TJC


def test_coordinates_change_as_without_a_mask() -> None:
    for config in ({"mirror": 1.0}, {"rotation_deg": 30}, {"drop_frames": 0.3, "mirror": 1.0}):
        plain = vary(points()[..., :2].copy(), False, **config)
        np.testing.assert_array_equal(vary(points(), True, **config)[..., :2], plain)


def test_the_mask_of_a_mirrored_point_goes_with_it() -> None:
    mirrored = vary(points(), True, mirror=1.0)
    np.testing.assert_array_equal(mirrored[..., 2], points()[:, [2, 3, 0, 1], 2])


def test_noise_reaches_found_points_only_and_never_the_mask() -> None:
    before = points()
    after = vary(points(), True, noise=0.5)
    np.testing.assert_array_equal(after[..., 2], before[..., 2])
    moved = (after[..., :2] != before[..., :2]).all(axis=2)
    np.testing.assert_array_equal(moved, before[..., 2] > 0)
    assert moved[:, 1].all(), "a point at 0 that the mask calls found"
