"""What each encoder does with numbers; what all of them must do is in `tests/conformance`."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from kinesweep.config.recipe.model.encoders import (
    AdapterEncoderConfig,
    CnnEncoderConfig,
    EncoderConfig,
    LinearEncoderConfig,
    MlpEncoderConfig,
)
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.frame_encoder import FrameEncoder, average_frames
from tolerances import assert_same

pytestmark = pytest.mark.usefixtures("float64")

MASK_BT = torch.arange(5) < torch.tensor([5, 3])[:, None]


def test_velocities_stand_beside_the_features() -> None:
    config = LinearEncoderConfig(velocity=True, standardize=False, norm_in=False)
    begun = FrameEncoder(config, 2).preprocess(torch.tensor([[[1.0, 5.0], [4.0, 5.0], [4.0, 3.0]]]))
    assert begun[0].tolist() == [[1, 5, 0, 0], [4, 5, 3, 0], [4, 3, 0, -2]]


def test_velocities_are_in_deviations_when_standardised() -> None:
    encoder = FrameEncoder(LinearEncoderConfig(velocity=True, norm_in=False), 1)
    encoder.set_statistics(torch.tensor([4.0]), torch.tensor([2.0]))
    assert encoder.preprocess(torch.tensor([[[4.0], [8.0]]]))[0].tolist() == [[0, 0], [2, 2]]


def test_the_mean_of_frames_leaves_padding_out() -> None:
    x_BTE = torch.tensor([[1.0, 3.0, 5.0, 7.0, 9.0], [1.0, 3.0, 5.0, 99.0, 99.0]])[:, :, None]
    means_BTE, mask_BT = average_frames(x_BTE, MASK_BT, 2)
    assert means_BTE[:, :, 0].tolist() == [[2, 6, 9], [2, 5, 0]]
    assert mask_BT.tolist() == [[True, True, True], [True, True, False]]


@pytest.mark.parametrize(
    ("strides", "frames", "left"),
    [((2, 2), [9, 8, 5, 1], [3, 2, 2, 1]), ((3, 1), [9, 4, 3, 1], [3, 2, 1, 1])],
)
def test_strides_leave_so_many_vectors(
    strides: tuple[int, int], frames: list[int], left: list[int]
) -> None:
    encoder = build_encoder(CnnEncoderConfig(strides=strides), 3, 4)
    mask_BT = torch.arange(9) < torch.tensor(frames)[:, None]
    x_BTE, left_BT = encoder(torch.randn(4, 9, 3), mask_BT)
    assert left_BT.sum(dim=1).tolist() == left
    assert x_BTE.shape == (4, max(left), 4)


def test_a_convolution_sees_neighbours_and_no_further() -> None:
    encoder = build_encoder(CnnEncoderConfig(kernels=(3,), strides=(1,), standardize=False), 3, 4)
    x_BTD, mask_BT = torch.randn(1, 9, 3), torch.ones(1, 9, dtype=torch.bool)
    before_TE = encoder.eval()(x_BTD, mask_BT)[0][0]
    x_BTD[0, 4] += torch.tensor([1.0, -2.0, 0.5])
    moved = (encoder(x_BTD, mask_BT)[0][0] - before_TE).abs().amax(dim=1) > 1e-6
    assert moved.nonzero().flatten().tolist() == [3, 4, 5]


def test_an_adapter_has_weights_and_begins_as_its_matrix() -> None:
    encoder = build_encoder(AdapterEncoderConfig(bottleneck=3, norm_out=False), 6, 8).eval()
    extra = sum(p.numel() for name, p in encoder.named_parameters() if name[:2] in ("up", "do"))
    assert extra == 8 * 3 + 3 + 3 * 8 + 8
    x_BTD, mask_BT = torch.randn(2, 5, 6), MASK_BT
    plain = encoder.linear(encoder.preprocess(x_BTD))
    assert torch.equal(encoder(x_BTD, mask_BT)[0], plain)
    torch.nn.init.ones_(encoder.up.weight)
    assert not torch.allclose(encoder(x_BTD, mask_BT)[0], plain)


def test_an_mlp_can_see_what_a_matrix_cannot() -> None:
    """Which of two features is larger in size, whatever their signs."""
    torch.manual_seed(0)
    x_BTD = torch.randn(64, 5, 2)
    wanted = (x_BTD[:, :, 0].abs() > x_BTD[:, :, 1].abs()).float()
    plain = {"standardize": False, "norm_in": False, "norm_out": False, "dropout": 0.0}
    losses = {}
    for config in (LinearEncoderConfig(**plain, activation="none"), MlpEncoderConfig(**plain)):
        encoder = build_encoder(config, 2, 1)
        optimizer = torch.optim.Adam(encoder.parameters(), 0.01)
        for _ in range(200):
            got = encoder(x_BTD, torch.ones(64, 5, dtype=torch.bool))[0][:, :, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(got, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[config.kind] = float(loss)
    assert losses["linear"] > 0.6 and losses["mlp"] < 0.2


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"kind": "cnn", "kernels": [3], "strides": [2, 2]}, "the same number"),
        ({"kind": "cnn", "kernels": [4, 3]}, "odd"),
        ({"kind": "cnn", "kernels": [1, 3]}, "no longer than its kernel"),
        ({"kind": "mlp", "hidden": [0]}, "below 1"),
        ({"kind": "mlp", "hidden": []}, "at least 1"),
        ({"kind": "cnn", "downsample": 2}, "Extra inputs"),
    ],
)
def test_impossible_encoders_are_refused(plain: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(EncoderConfig).validate_python(plain)


def test_without_a_kind_it_is_linear() -> None:
    found = TypeAdapter(EncoderConfig).validate_python({"dropout": 0.3})
    assert found == LinearEncoderConfig(dropout=0.3)


def test_a_projector_is_linear_gelu_linear() -> None:
    plain = {"standardize": False, "norm_in": False, "norm_out": False}
    config = MlpEncoderConfig(hidden=(4,), activation="gelu", **plain)
    encoder = build_encoder(config, 3, 4).eval()
    x_BTD = torch.randn(2, 5, 3)
    inner = torch.nn.functional.linear(x_BTD, encoder.hidden[0].weight, encoder.hidden[0].bias)
    erf = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
    wanted = erf @ encoder.linear.weight.T + encoder.linear.bias
    assert_same(encoder(x_BTD, MASK_BT)[0], wanted)
