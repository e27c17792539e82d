"""`EncoderContract` on every encoder of ours; a new one is one line in `CONFIGS`."""

import pytest

from kinesweep.config.recipe.model.encoders import (
    AdapterEncoderConfig,
    CnnEncoderConfig,
    EncoderConfig,
    LinearEncoderConfig,
    MlpEncoderConfig,
    TokensEncoderConfig,
)
from kinesweep.config.recipe.model.graph import StagcnEncoderConfig, StgcnEncoderConfig
from kinesweep.core.skeleton.skeleton import ROOT
from kinesweep.models.encoders import ENCODERS
from kinesweep.testing import EncoderContract
from trees import made

OUT = EncoderContract.out
SKELETON = made((ROOT, 0, ROOT))  # of two coordinates each
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
}


class TestEncoders(EncoderContract):
    skeleton = SKELETON

    @pytest.fixture(params=CONFIGS)
    def section(self, request: pytest.FixtureRequest) -> EncoderConfig:
        return CONFIGS[request.param]

    def test_every_kind_is_tried(self) -> None:
        assert {config.kind for config in CONFIGS.values()} == set(ENCODERS)
