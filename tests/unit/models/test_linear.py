import torch

from kinesweep.config.recipe.model.encoders import LinearEncoderConfig
from kinesweep.models.encoders import build_encoder
from tolerances import rounding

MASK_BT = torch.ones(1, 2, dtype=torch.bool)
X_BTD = torch.tensor([[[3.0, 10.0, 0.5], [5.0, 10.0, 0.5]]])
MEAN_D, DEVIATION_D = torch.tensor([4.0, 10.0, 0.25]), torch.tensor([0.5, 0.0, 0.5])
PLAIN = {"norm_in": False, "norm_out": False, "activation": "none", "dropout": 0.0}


def through_ones(**changes: object) -> list[list[float]]:
    """What the encoder gives when its matrix copies features."""
    encoder = build_encoder(LinearEncoderConfig.model_validate({**PLAIN, **changes}), 3, 3)
    torch.nn.init.eye_(encoder.linear.weight)
    torch.nn.init.zeros_(encoder.linear.bias)
    encoder.set_statistics(MEAN_D, DEVIATION_D)
    return encoder(X_BTD, MASK_BT)[0][0].tolist()


def test_features_are_standardised_and_still_ones_are_not_blown_up() -> None:
    assert through_ones() == [[-2.0, 0.0, 0.5], [2.0, 0.0, 0.5]]


def test_standardising_can_be_left_out() -> None:
    assert through_ones(standardize=False) == X_BTD[0].tolist()


def test_relu_is_last() -> None:
    assert through_ones(activation="relu") == [[0.0, 0.0, 0.5], [2.0, 0.0, 0.5]]


def test_each_norm_can_be_left_out() -> None:
    for norm in ("norm_in", "norm_out"):
        got = torch.tensor(through_ones(**{norm: True}))
        assert float(got.abs().max()) < 2
        # Two means of 3 terms (the norm's and this one) and the norm's product.
        bound = rounding(2 * 3 + 1, 2)
        torch.testing.assert_close(got.mean(dim=1), torch.zeros(2), rtol=0, atol=bound)


def test_a_gain_scales_what_leaves_the_matrix_bias_and_all() -> None:
    config = LinearEncoderConfig.model_validate({**PLAIN, "gain": True, "standardize": False})
    encoder = build_encoder(config, 3, 2)
    plain = encoder.linear(X_BTD)
    assert torch.equal(encoder(X_BTD, MASK_BT)[0], plain)
    with torch.no_grad():
        encoder.gain.copy_(torch.tensor([2.0, -0.5]))
    assert torch.equal(encoder(X_BTD, MASK_BT)[0], plain * torch.tensor([2.0, -0.5]))
    assert [name for name, _ in encoder.named_parameters() if name.startswith("gain")] == ["gain"]


def test_without_a_gain_there_is_no_weight_of_it() -> None:
    names = dict(build_encoder(LinearEncoderConfig(), 3, 2).named_parameters())
    assert "gain" not in names
