"""`EncoderContract`: what every encoder must do. A new encoder is one line in `CONFIGS`."""

import pickle

import pytest
import torch
from torch import nn

from kinesweep.config.recipe.model.encoders import (
    AdapterEncoderConfig,
    CnnEncoderConfig,
    EncoderConfig,
    LinearEncoderConfig,
    MlpEncoderConfig,
    TokensEncoderConfig,
)
from kinesweep.config.recipe.model.graph import StagcnEncoderConfig, StgcnEncoderConfig
from kinesweep.config.recipe.model.part_graph import PartGraphEncoderConfig
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import ROOT, Skeleton
from kinesweep.models.encoders import ENCODERS, build_encoder
from tolerances import assert_same, float64  # noqa: F401
from trees import made

pytestmark = pytest.mark.usefixtures("float64")

WIDTH, OUT = 6, 8
SKELETON = made((ROOT, 0, ROOT))  # of two coordinates each
PARTS = Skeleton(
    "parts",
    PointLayout((("BODY", ("a", "b")), ("LEFT_HAND", ("c", "d")), ("RIGHT_HAND", ("c", "d")))),
    parents=(ROOT, 0, 0, 2, 1, 4),
    mirror=(1, 0, 4, 5, 2, 3),
)  # of one coordinate each
CONFIGS: dict[str, EncoderConfig] = {
    "linear": LinearEncoderConfig(dropout=0.5),
    "linear, nothing optional": LinearEncoderConfig(
        standardize=False, norm_in=False, norm_out=False, activation="none", dropout=0.0
    ),
    "linear, velocities, every third": LinearEncoderConfig(velocity=True, downsample=3),
    "mlp": MlpEncoderConfig(hidden=(5, 4)),
    "mlp, a projector": MlpEncoderConfig(
        hidden=(OUT,), activation="gelu", standardize=False, norm_in=False, norm_out=False
    ),
    "mlp, velocities": MlpEncoderConfig(velocity=True, standardize=False, downsample=2),
    "adapter": AdapterEncoderConfig(bottleneck=3),
    "cnn": CnnEncoderConfig(channels=4),
    "cnn, wide": CnnEncoderConfig(kernels=(5, 1, 3), strides=(3, 1, 2), velocity=True),
    "stgcn": StgcnEncoderConfig(channels=4, blocks=2),
    "stgcn, vectors of points": StgcnEncoderConfig(channels=3, blocks=1, pooling="time"),
    "tokens": TokensEncoderConfig(dropout=0.5),
    "tokens, no norm": TokensEncoderConfig(norm_out=False),
    "tokens of the backbone": TokensEncoderConfig(embeddings="backbone", norm_out=True),
    "stagcn": StagcnEncoderConfig(features=(4,), attention=(4, 6), perception=(5,), head=3),
    "stagcn, everything": StagcnEncoderConfig(
        features=(4, 3),
        attention=(4,),
        perception=(5, 5),
        head=3,
        pooling="both",
        velocity=True,
        perceive_skeleton=True,
    ),
    "part_graph": PartGraphEncoderConfig(channels=4, blocks=2, dropout=0.5),
    "part_graph, everything else": PartGraphEncoderConfig(
        channels=3,
        share_hands=False,
        fuse_body="attached",
        downsample=2,
        hops=2,
        bones=True,
        velocity=True,
        standardize=True,
    ),
    "part_graph, no fusion": PartGraphEncoderConfig(channels=3, fuse_body="none", kernel=1),
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> EncoderConfig:
    return CONFIGS[request.param]


def make(config: EncoderConfig) -> nn.Module:
    torch.manual_seed(0)
    return build_encoder(config, WIDTH, OUT, PARTS if config.kind == "part_graph" else SKELETON)


def clips(config: EncoderConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Features, ids of WIDTH tokens, or vectors of a backbone, whichever the encoder reads."""
    torch.manual_seed(1)
    mask_BT = torch.arange(7) < torch.tensor([7, 4, 6])[:, None]
    if isinstance(config, TokensEncoderConfig):
        if config.embeddings == "own":
            return torch.randint(WIDTH, (3, 7, 1)), mask_BT
        return torch.randn(3, 7, OUT), mask_BT
    return torch.randn(3, 7, WIDTH), mask_BT


def test_every_kind_is_tried() -> None:
    assert {config.kind for config in CONFIGS.values()} == set(ENCODERS)


def test_output_has_the_width_asked_for_and_a_mask_that_fits(config: EncoderConfig) -> None:
    x_BTE, mask_BT = make(config)(*clips(config))
    assert x_BTE.shape == (*mask_BT.shape, OUT)
    assert mask_BT.dtype == torch.bool
    assert mask_BT.any(dim=1).all()


def test_padding_and_neighbours_change_nothing(config: EncoderConfig) -> None:
    encoder = make(config).eval()
    x_BTD, mask_BT = clips(config)
    x_BTD[1, 4:] = WIDTH - 1 if config.kind == "tokens" else 1e3  # whatever stands in the padding
    out_BTE, out_mask_BT = encoder(x_BTD, mask_BT)
    alone_BTE, alone_mask_BT = encoder(x_BTD[1:2, :4], mask_BT[1:2, :4])
    real = out_BTE[1][out_mask_BT[1]]
    assert_same(real, alone_BTE[0][alone_mask_BT[0]])


def test_equal_seeds_give_equal_weights(config: EncoderConfig) -> None:
    first, second = make(config).state_dict(), make(config).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_it_pickles(config: EncoderConfig) -> None:
    encoder = make(config).eval()
    again = pickle.loads(pickle.dumps(encoder))
    assert torch.equal(again(*clips(config))[0], encoder(*clips(config))[0])


def test_every_weight_learns(config: EncoderConfig) -> None:
    encoder = make(config)
    for parameter in encoder.parameters():  # layers that begin at zero hide those before them
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    x_BTE, _ = encoder(*clips(config))
    (x_BTE * torch.arange(1.0, OUT + 1)).sum().backward()
    gradients = {name: p.grad for name, p in encoder.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None or not grad.any()] == []


def test_statistics_are_kept_with_the_weights(config: EncoderConfig) -> None:
    encoder, again = make(config).eval(), make(config).eval()
    encoder.set_statistics(torch.arange(WIDTH).float(), torch.full((WIDTH,), 2.0))
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder(*clips(config))[0], again(*clips(config))[0])
