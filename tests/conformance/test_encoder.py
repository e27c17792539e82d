"""`EncoderContract` on every encoder of ours; a new one is one line in `CONFIGS`."""

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
from kinesweep.testing import EncoderContract
from trees import made

OUT = EncoderContract.out
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


class TestEncoders(EncoderContract):
    skeleton = SKELETON

    @pytest.fixture(params=CONFIGS)
    def section(self, request: pytest.FixtureRequest) -> EncoderConfig:
        return CONFIGS[request.param]

    def build(self, section: EncoderConfig) -> nn.Module:
        torch.manual_seed(0)
        skeleton = PARTS if section.kind == "part_graph" else SKELETON
        return build_encoder(section, self.width, self.out, skeleton)

    def test_every_kind_is_tried(self) -> None:
        assert {config.kind for config in CONFIGS.values()} == set(ENCODERS)
