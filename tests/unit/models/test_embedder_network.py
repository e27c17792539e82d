"""Frame embedders: unit vectors, padding that changes nothing, and the same network as data."""

import json

import numpy as np
import pytest
import torch

from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.model.encoders import (
    AdapterEncoderConfig,
    CnnEncoderConfig,
    EncoderConfig,
    LinearEncoderConfig,
    MlpEncoderConfig,
)
from kinesweep.config.recipe.model.graph import StagcnEncoderConfig, StgcnEncoderConfig
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.skeleton.skeleton import ROOT
from kinesweep.features.frame_embedder_io import read_embedder, write_embedder
from kinesweep.models import embedder
from kinesweep.models.embedder import FrameEmbedder, export_program
from trees import made as chain

pytestmark = pytest.mark.integration

WIDTH = 6
ENCODERS = [
    LinearEncoderConfig(velocity=True, gain=True),
    MlpEncoderConfig(hidden=(8,), activation="gelu"),
    AdapterEncoderConfig(bottleneck=4),
    CnnEncoderConfig(channels=8, kernels=(3, 5), strides=(1, 1), velocity=True),
    StgcnEncoderConfig(channels=4, blocks=2, kernel=3, velocity=True),
    StagcnEncoderConfig(features=(4,), attention=(4,), perception=(4,), head=8, kernel=3),
]
SKELETON = chain(parents=(ROOT, 0, 0), mirror=(0, 2, 1))


@pytest.fixture(params=ENCODERS, ids=lambda config: config.kind)
def network(request: pytest.FixtureRequest) -> FrameEmbedder:
    return made(request.param)


def made(config: EncoderConfig) -> FrameEmbedder:
    torch.manual_seed(0)
    network = FrameEmbedder(config, WIDTH, 8, 4, SKELETON)
    network.encoder.set_statistics(torch.arange(WIDTH) / 9, 1 + torch.arange(WIDTH) / 5)
    return network.eval()


def test_unit_vectors_and_padding(network: FrameEmbedder) -> None:
    x_BTD = torch.randn(2, 9, WIDTH)
    mask_BT = torch.arange(9) < torch.tensor([[9], [4]])
    e_BTE = network(x_BTD, mask_BT)
    torch.testing.assert_close(e_BTE.norm(dim=2), mask_BT.float())
    alone_BTE = network(x_BTD[1:, :4], mask_BT[1:, :4])
    torch.testing.assert_close(e_BTE[1:, :4], alone_BTE)


@pytest.mark.slow
def test_the_program_is_the_network(network: FrameEmbedder, tmp_path) -> None:
    steps, weights = export_program(network, WIDTH)
    described = {"stream": "pose", "width": WIDTH, "size": 4, "layout": None, "score": {}}
    write_embedder(tmp_path, described, json.loads(json.dumps(steps)), weights)
    read = read_embedder(tmp_path)
    for frames in (1, 2, 15, 16, 61):
        x_TD = torch.randn(frames, WIDTH)
        with torch.no_grad():
            e_TE = network(x_TD[None], torch.ones(1, frames, dtype=torch.bool))[0]
        np.testing.assert_allclose(read(x_TD.numpy()), e_TE.numpy(), atol=1e-6)


def test_an_operation_that_is_in_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    known = embedder.OPERATIONS - {"aten.layer_norm.default"}
    monkeypatch.setattr(embedder, "OPERATIONS", known)
    with pytest.raises(InputError, match=r"uses `aten.layer_norm.default`"):
        export_program(made(LinearEncoderConfig()), WIDTH)


def test_a_graph_encoder_needs_a_skeleton() -> None:
    with pytest.raises(ConfigError, match="skeleton"):
        FrameEmbedder(StgcnEncoderConfig(), WIDTH, 8, 4)


def test_an_encoder_that_leaves_out_frames() -> None:
    network = made(LinearEncoderConfig(downsample=2))
    with pytest.raises(InputError, match="made 3 vectors of 5 frames"):
        network(torch.randn(1, 5, WIDTH), torch.ones(1, 5, dtype=torch.bool))


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"encoder": {"kind": "cnn"}}, "`encoder` skips frames"),
        ({"encoder": {"kind": "linear", "downsample": 2}}, "`encoder` skips frames"),
        ({"encoder": {"kind": "stgcn", "pooling": "time"}}, "`encoder.pooling` is time"),
        ({"encoder": {"kind": "stgcn", "lora": {}}}, "`encoder.lora` adapts the weights"),
        ({"batch": {"augmentation": {"speed": 0.2}}}, "`drop_frames` or `speed`"),
        ({"embedding": {"kind": "tcc", "sigma": 2}}, r"embedding.sigma +unknown"),
        ({"embedding": {"kind": "carl", "crop": 0.3}}, r"embedding.crop +input should be greater"),
        (
            {"embedding": {"kind": "tcc", "cycle": "classification", "variance_weight": 1}},
            "`variance_weight` is for `cycle: regression`",
        ),
        ({"features": {"kind": "skeleton"}}, "needs `features.kind: pose`"),
        ({"training": {"max_stepps": 3}}, "did you mean `max_steps`"),
    ],
)
def test_a_recipe_that_says_what_cannot_be(part: dict, says: str) -> None:
    plain = {
        "name": "e",
        "source": {"kind": "pose_tsv", "train": "train.tsv"},
        "embedding": {"kind": "tcc"},
    }
    assert validate_config(EmbeddingRecipe, plain, "it").corpus_recipe.name == "e"
    with pytest.raises(ConfigError, match=says):
        validate_config(EmbeddingRecipe, plain | part, "it")
