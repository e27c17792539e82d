"""SignHiera, tiny: Hiera's numbers, windows that see only themselves, the size of the real one."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kinesweep.config.recipe.video import SignHieraEncoderConfig
from kinesweep.core.errors import InputError
from kinesweep.features.encoders.signhiera import HieraGeometry, SignHiera
from kinesweep.features.encoders.signhiera_encoder import SignHieraEncoder
from tolerances import assert_same, float64, rounding  # noqa: F401

TINY = HieraGeometry(max_frames=8, size=64, first_stage_width=4, stage_depths=(2, 1, 2, 1))
# Of `hiera-transformer` 0.1.4's Hiera with these weights and pixels: its last intermediate,
# averaged over space; the first three and the last of each moment's 32 values.
GOLDEN = (
    (6.365401, -10.194824, 3.877064, 2.299911),
    (6.380295, -10.190727, 3.862925, 2.262933),
    (6.367397, -10.195448, 3.880335, 2.329853),
    (6.366865, -10.186501, 3.869991, 2.322421),
)


def drawn(*shape: int, seed: int) -> Tensor:
    """Normal numbers of the one generator whose stream NumPy promises never to change."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape)).float()


def tiny(geometry: HieraGeometry = TINY) -> SignHiera:
    """Weights at which every token tells, and attention is far from even."""
    model = SignHiera(geometry).eval()
    with torch.no_grad():
        for seed, (name, weight) in enumerate(model.named_parameters()):
            scale = 1.5 / math.sqrt(weight[0].numel()) if weight.dim() > 1 else 0.2
            weight.copy_(scale * drawn(*weight.shape, seed=seed) + ("norm" in name))
    return model


def windows(count: int, frames: int = 8, size: int = 64) -> Tensor:
    torch.manual_seed(0)
    return torch.randint(256, (count, frames, size, size, 3), dtype=torch.uint8)


def padded(pixels_BFHWC: Tensor, kept_B: Sequence[int]) -> Tensor:
    """With each window's last frame after its end."""
    pixels_BFHWC = pixels_BFHWC.clone()
    for row, kept in enumerate(kept_B):
        pixels_BFHWC[row, kept:] = pixels_BFHWC[row, kept - 1]
    return pixels_BFHWC


@pytest.mark.usefixtures("float64")
def test_gives_hieras_numbers() -> None:
    with torch.inference_mode():
        x_TD = tiny()(drawn(1, 3, 8, 64, 64, seed=99))[0]
    assert x_TD.shape == (4, 32)
    # Ours is float64: off are their numbers alone, by float32's rounding in a handful of layers
    # after the last norm, and by their last digit.
    bound = rounding(6, 10.2) + 5e-7
    torch.testing.assert_close(x_TD[:, [0, 1, 2, -1]], torch.tensor(GOLDEN), atol=bound, rtol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("real", [1, 2, 3])
def test_moments_that_are_not_real_are_not_seen(real: int) -> None:
    model, pixels_BCFHW = tiny(), drawn(2, 3, 8, 64, 64, seed=99)
    real_BT = torch.arange(4) < torch.tensor([real, 4])[:, None]
    with torch.inference_mode():
        both_BTD = model(pixels_BCFHW, real_BT)
        short_BTD = model(pixels_BCFHW[:1, :, : 2 * real])
        whole_BTD = model(pixels_BCFHW)
    assert_same(both_BTD[:1, :real], short_BTD)
    assert_same(both_BTD[1], whole_BTD[1])
    # Unmasked, it would tell.
    assert (whole_BTD[0, :real] - short_BTD[0]).abs().max() > 1e-2


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kept", range(1, 9))
def test_padding_changes_nothing(kept: int) -> None:
    encoder = SignHieraEncoder(tiny())
    pixels = padded(windows(2), (kept, 8))
    real = math.ceil(kept / 2)
    both = encoder(pixels, (kept, 8))
    assert both.shape == (2, 4, 32) and both.dtype == torch.float32
    short = encoder(pixels[:1, : 2 * real], (2 * real,))
    assert_same(both[:1, :real], short)
    alone = encoder(pixels[:1], (kept,))
    assert_same(both[:1], alone)
    assert not both[0, real:].any()
    # Whatever stands after the end.
    noise = pixels.clone()
    noise[0, kept:] = 255 - noise[0, kept:]
    assert torch.equal(encoder(noise, (kept, 8)), both)


@pytest.mark.usefixtures("float64")
def test_neighbors_change_nothing() -> None:
    encoder, pixels, kept = SignHieraEncoder(tiny()), windows(3), (8, 5, 2)
    beside = encoder(pixels, kept)
    for row in range(3):
        alone = encoder(pixels[row : row + 1], kept[row : row + 1])[0]
        assert_same(beside[row], alone)
    assert (beside[0, 0] - beside[2, 0]).abs().max() > 1e-3


@pytest.mark.usefixtures("float64")
def test_pixels_are_normalised_and_left_alone() -> None:
    model, pixels = tiny(), windows(1)
    before = pixels.clone()
    given = SignHieraEncoder(model)(pixels, (8,))
    normal = ((pixels / 255 - 0.45) / 0.225).permute(0, 4, 1, 2, 3)
    with torch.inference_mode():
        assert_same(given, model(normal))
    assert torch.equal(pixels, before)


def test_time_and_place_matter() -> None:
    encoder, pixels = SignHieraEncoder(tiny()), windows(1)
    given = encoder(pixels, (8,))
    assert (given - encoder(pixels.flip(1), (8,)).flip(1)).abs().max() > 1e-3
    assert (given - encoder(pixels.flip(3), (8,))).abs().max() > 1e-3


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.1), ("fp16", 0.02)])
def test_half_precision_is_near_float32_and_not_it(precision: Any, tolerance: float) -> None:
    pixels = windows(2)
    full = SignHieraEncoder(tiny())(pixels, (8, 3))
    half = SignHieraEncoder(tiny(), precision)(pixels, (8, 3))
    assert half.dtype == torch.float32
    assert 0 < (full - half).abs().max() < tolerance * full.abs().max()


def test_windows_it_does_not_take() -> None:
    encoder = SignHieraEncoder(tiny())
    assert [encoder.count_time_steps(frames) for frames in (2, 4, 8)] == [1, 2, 4]
    for frames in (0, 7, 10):
        with pytest.raises(InputError, match=rf"`windows.num_frames` is {frames}, .* up to 8"):
            encoder.count_time_steps(frames)


def test_made_from_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "signs.pth"
    torch.save({"model": tiny().state_dict()}, file)
    config = SignHieraEncoderConfig(checkpoint=str(file))
    encoder = SignHieraEncoder.from_config(config, "fp32", "cpu", TINY)
    assert (encoder.size, encoder.width) == (64, 32)
    same = SignHieraEncoder(tiny())
    assert torch.equal(encoder(windows(1), (8,)), same(windows(1), (8,)))


def test_the_real_one_has_its_parameters() -> None:
    with torch.device("meta"):
        model = SignHiera(HieraGeometry())
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert sum(math.prod(shape) for shape in shapes.values()) == 50_788_800
    assert shapes["pos_embed_temporal"] == (1, 64, 96)
    assert shapes["pos_embed_spatial"] == (1, 56 * 56, 96)
    assert shapes["patch_embed.proj.weight"] == (96, 3, 3, 7, 7)
    assert shapes["blocks.21.attn.qkv.weight"] == (3 * 768, 384)
    assert [layer.attn.heads for layer in model.blocks] == [1] * 2 + [2] * 3 + [4] * 16 + [8] * 3  # type: ignore[union-attr]


def test_a_whole_window_of_the_real_one_has_64_moments() -> None:
    """Shapes alone; `test_a_whole_window_of_the_real_one` computes it."""
    with torch.device("meta"):
        model, pixels_BCFHW = SignHiera(HieraGeometry()), torch.empty(1, 3, 128, 224, 224)
    with torch.inference_mode():
        assert model(pixels_BCFHW).shape == (1, 64, 768)


@pytest.mark.slow
def test_a_padded_window_of_the_real_one_is_as_its_own_length() -> None:
    """8 frames beside 4 that are padded to 8, against the 4 by themselves."""
    check_padding(8, 4)


@pytest.mark.proof
def test_a_longer_padded_window_of_the_real_one_is_as_its_own_length() -> None:
    check_padding(32, 12)


def check_padding(frames: int, kept: int) -> None:
    torch.manual_seed(0)
    encoder = SignHieraEncoder(SignHiera(HieraGeometry()))
    both = windows(2, frames, 224)
    assert encoder.count_time_steps(128) == 64
    together = encoder(both, (frames, kept))
    assert together.shape == (2, frames // 2, 768) and bool(together.isfinite().all())
    padded = together[1, : kept // 2]
    alone = encoder(both[1:, :kept], (kept,))[0]
    assert alone.shape == (kept // 2, 768)
    assert (padded - alone).abs().max() < 1e-4


@pytest.mark.proof
def test_a_whole_window_of_the_real_one() -> None:
    torch.manual_seed(0)
    encoder = SignHieraEncoder(SignHiera(HieraGeometry()))
    given = encoder(windows(1, 128, 224), (128,))
    assert given.shape == (1, 64, 768) and bool(given.isfinite().all())
