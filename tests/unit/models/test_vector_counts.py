"""How many vectors an encoder makes of a clip, and whether it can be trusted to know."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.encoders import CnnEncoderConfig, LinearEncoderConfig
from kinesweep.core.skeleton.skeleton import ROOT
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.cnn import CnnEncoder
from kinesweep.models.encoders.linear import LinearEncoder
from kinesweep.models.encoders.vector_counts import count_vectors, knows_vector_counts
from trees import made

GRAPHS = {"features": [4], "attention": [4], "perception": [4], "head": 4}
ENCODERS: list[dict[str, Any]] = [
    {"kind": "linear"},
    {"kind": "linear", "downsample": 3},
    {"kind": "mlp", "hidden": [4], "downsample": 2},
    {"kind": "adapter", "downsample": 4},
    {"kind": "cnn", "channels": 4},
    {"kind": "cnn", "channels": 4, "kernels": [5, 3], "strides": [3, 2]},
    *(
        {"kind": "stgcn", "channels": 4, "blocks": 2, "pooling": each}
        for each in ("skeleton", "time")
    ),
    {"kind": "stagcn", **GRAPHS, "pooling": "both"},
]
LENGTHS = (1, 2, 5, 6, 7, 12)


@pytest.mark.parametrize("plain", ENCODERS, ids=str)
def test_counts_are_those_of_the_mask(plain: dict[str, Any]) -> None:
    config = ModelConfig.model_validate(
        {"encoder": plain, "backbone": {"scratch": {"architecture": "m2m_100"}}}
    ).encoder
    encoder = build_encoder(config, 6, 8, made([ROOT, 0, 1])).eval()
    assert knows_vector_counts(encoder)
    mask_BT = torch.arange(12) < torch.tensor(LENGTHS)[:, None]
    _, mask_BN = encoder(torch.randn(len(LENGTHS), 12, 6), mask_BT)
    unread_B0 = mask_BN[:, :0]  # what is not read may be anything
    assert count_vectors(encoder, LENGTHS, unread_B0) == mask_BN.sum(dim=1).tolist()
    assert count_vectors(encoder, [0, 5], unread_B0)[0] == 0


class Halved(LinearEncoder):
    """An encoder of another package that inherits what no longer holds."""

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        x_BTE, _ = super().forward(x_BTD, mask_BT)
        return x_BTE[:, ::2], mask_BT[:, ::2]


class Same(CnnEncoder):
    """One that changes nothing about them."""


def test_an_inherited_count_is_not_trusted() -> None:
    halved = Halved(LinearEncoderConfig(), 6, 8)
    assert not knows_vector_counts(halved)
    mask_BT = torch.arange(7) < torch.tensor([[3], [7]])
    _, mask_BN = halved(torch.randn(2, 7, 6), mask_BT)
    assert count_vectors(halved, [3, 7], mask_BN) == [2, 4]
    assert knows_vector_counts(Same(CnnEncoderConfig(), 6, 8))
    assert not knows_vector_counts(torch.nn.Identity())
