"""Pixel augmentation: drawn from (seed, clip, epoch) alone, the same for all frames of a clip."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from kinesweep.config.recipe.features.pixel_augmentation import PixelAugmentationConfig
from kinesweep.core.errors import InputError
from kinesweep.features.pixels.operations import PixelOperation
from kinesweep.features.pixels.transform import PixelTransform, check_crop_size, draw_transform

NOTHING: dict[str, Any] = {"rand_augment": None, "horizontal_flip": 0}


def config(**values: Any) -> PixelAugmentationConfig:
    return PixelAugmentationConfig.model_validate(values)


def draw(values: dict[str, Any], clip: str = "a", epoch: int = 0, size: int = 16) -> PixelTransform:
    return draw_transform(config(**values), size, ("whole",), clip, epoch)


def noise(seed: int, size: int = 16) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def test_the_defaults_are_those_of_ssvp() -> None:
    transform = draw({})
    assert len(transform.operations) == 4
    assert (transform.size, transform.decoded_size, transform.box) == (16, 16, None)
    # Fixed values, because all machines must draw the same.
    assert [operation.name for operation in transform.operations] == [
        "solarize",
        "brightness",
        "identity",
        "shear_x",
    ]
    assert [draw({}, f"clip{i}").is_mirrored for i in range(8)] == list(
        map(bool, [0, 0, 1, 1, 1, 1, 0, 1])
    )


def test_clip_epoch_and_seed_alone_decide() -> None:
    first = draw({})
    assert draw({}) == first
    assert draw_transform(config(), 16, ("whole",), "a", 0) == first
    others = [draw({}, epoch=1), draw({}, clip="b"), draw({"seed": 1})]
    assert all(other.operations != first.operations for other in others)
    # Operations are drawn apart from each other.
    assert draw({"random_resized_crop": {}}).operations == first.operations


def test_every_operation_occurs_with_the_strengths_of_torchvision() -> None:
    drawn = [
        operation
        for number in range(200)
        for operation in draw(
            {"rand_augment": {"num_ops": 4, "magnitude": 7}}, str(number)
        ).operations
    ]
    counts = Counter(operation.name for operation in drawn)
    assert len(counts) == 14 and min(counts.values()) > 25
    strengths = {name: {abs(op.strength) for op in drawn if op.name == name} for name in counts}
    expected = {"shear_x": 0.07, "rotate": 7, "translate_y": 150 / 331 * 7 / 30, "posterize": 7}
    for name, strength in {**expected, "brightness": 0.21, "solarize": 255 * 23 / 30}.items():
        assert list(strengths[name]) == pytest.approx([strength])
    signed = {op.strength > 0 for op in drawn if op.name == "rotate"}
    assert signed == {True, False}
    assert all(op.strength > 0 for op in drawn if op.name == "solarize")


@pytest.mark.parametrize(
    ("name", "strength", "expected"),
    [
        ("identity", 0.0, lambda x: x),
        ("brightness", 0.5, lambda x: np.clip(x * 1.5, 0, 255)),
        ("posterize", 4, lambda x: x // 16 * 16),
        ("solarize", 127.5, lambda x: np.where(x < 127.5, x, 255 - x)),
        ("translate_x", 0.25, lambda x: np.pad(x, ((0, 0), (4, 0), (0, 0)))[:, :-4]),
        ("translate_y", -0.25, lambda x: np.pad(x, ((0, 4), (0, 0), (0, 0)))[4:]),
        ("rotate", 90, lambda x: np.rot90(x)),
    ],
)
def test_an_operation_does_what_it_is_called(name: str, strength: float, expected: Any) -> None:
    pixels = noise(1)
    found = np.asarray(PixelOperation(name, strength)(Image.fromarray(pixels)), np.float64)
    np.testing.assert_allclose(found, expected(pixels.astype(np.float64)), atol=3)


def test_colors_are_changed_within_their_limits() -> None:
    jitter = {"color_jitter": {"brightness": 0.4, "hue": 0.1}, **NOTHING}
    drawn = [draw(jitter, str(number)).operations for number in range(50)]
    assert {tuple(op.name for op in ops) for ops in drawn} == {("brightness", "hue")}
    assert 0.3 < max(abs(ops[0].strength) for ops in drawn) <= 0.4
    assert 0.07 < max(abs(ops[1].strength) for ops in drawn) <= 0.1
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    turned = np.asarray(PixelOperation("hue", 1 / 3)(red))[0, 0]
    np.testing.assert_allclose(turned, (0, 255, 0), atol=6)


def test_a_mirrored_frame_and_its_crops() -> None:
    flip = {**NOTHING, "horizontal_flip": 1.0}
    pixels = noise(2)
    np.testing.assert_array_equal(draw(flip)(pixels), pixels[:, ::-1])
    names = ("whole", "left_hand", "right_hand")
    transform = draw_transform(config(**flip), 16, names, "a", 0)
    crops = [noise(seed) for seed in range(3)]
    found = transform(np.concatenate(crops, axis=1))
    # The mirror image of a right hand is a left hand.
    expected = [crops[0][:, ::-1], crops[2][:, ::-1], crops[1][:, ::-1]]
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))
    face = draw_transform(config(**flip), 16, ("face", "left_hand"), "a", 0)
    assert face.crop_order == (0, 1)


def test_a_random_crop_is_cut_out_of_a_larger_frame() -> None:
    values = {**NOTHING, "random_crop_from": 20}
    boxes = set()
    for number in range(40):
        transform = draw(values, str(number))
        assert transform.decoded_size == 20
        left, top = (round(edge * 20) for edge in transform.box[:2])  # type: ignore[index]
        boxes.add((left, top))
        pixels = noise(number, 20)
        np.testing.assert_array_equal(transform(pixels), pixels[top : top + 16, left : left + 16])
    assert {left for left, _ in boxes} == set(range(5))
    check_crop_size(config(**values), 19, "features.augmentation")
    with pytest.raises(InputError, match=r"`features\.augmentation\.random_crop_from` is 20"):
        check_crop_size(config(**values), 20, "features.augmentation")


def test_a_random_rectangle_is_scaled_to_the_size() -> None:
    values = {**NOTHING, "random_resized_crop": {"scale": (0.5, 0.8), "ratio": (0.5, 2)}}
    for number in range(50):
        transform = draw(values, str(number))
        left, top, right, bottom = transform.box  # type: ignore[misc]
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        assert 0.5 <= (right - left) * (bottom - top) <= 0.8
        assert 0.5 <= (right - left) / (bottom - top) <= 2
        assert transform.decoded_size == 23
        assert transform(noise(number, 23)).shape == (16, 16, 3)
    narrow = {**NOTHING, "random_resized_crop": {"scale": (0.9, 0.9), "ratio": (3, 4)}}
    assert draw(narrow).box == pytest.approx((0, 1 / 3, 1, 2 / 3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (NOTHING, "changes no pixel"),
        ({**NOTHING, "color_jitter": {}}, "changes no pixel"),
        ({"random_crop_from": 20, "random_resized_crop": {}}, "exclude each other"),
        ({"random_resized_crop": {"scale": (0.9, 0.1)}}, r"\[lower, upper\]"),
        ({"rand_augment": {"magnitude": 31}}, "less than 31"),
    ],
)
def test_an_augmentation_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**values)
