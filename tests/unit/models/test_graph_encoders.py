"""What graph encoders do with numbers: sizes, padding, statistics, sides of the body, adapters."""

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from kinesweep.config.recipe.model.graph import (
    EncoderLoraConfig,
    GraphEncoderConfig,
    StagcnEncoderConfig,
    StgcnEncoderConfig,
)
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.graph_blocks import GraphBlock
from kinesweep.models.encoders.graph_encoder import GraphEncoder
from kinesweep.models.encoders.packed_frames import FramePacker
from kinesweep.models.encoders.stagcn import StagcnEncoder
from kinesweep.models.lora import is_adapter_weight
from tolerances import assert_same
from trees import BODY_AND_HANDS

pytestmark = pytest.mark.usefixtures("float64")

V, C, OUT = 7, 2, 5
SMALL: dict[str, dict[str, Any]] = {
    "stgcn": {"channels": 4, "blocks": 3, "kernel": 3},
    "stagcn": {
        "features": (4, 6),
        "attention": (6, 8),
        "perception": (5,),
        "head": 7,
        "graphs": 2,
        "kernel": 3,
    },
    "stagcn over the skeleton too": {
        "features": (4,),
        "attention": (8,),
        "perception": (5, 5),
        "head": 7,
        "graphs": 3,
        "perceive_skeleton": True,
    },
}


def config(name: str, **keys: Any) -> GraphEncoderConfig:
    kind = StgcnEncoderConfig if name == "stgcn" else StagcnEncoderConfig
    return kind.model_validate({"dropout": 0.0, **SMALL[name], **keys})


def make(name: str, **keys: Any) -> GraphEncoder:
    torch.manual_seed(0)
    encoder = build_encoder(config(name, **keys), V * C, OUT, BODY_AND_HANDS)
    assert isinstance(encoder, GraphEncoder)
    return encoder


def clips(*lengths: int, extra: int = 0) -> tuple[Tensor, Tensor]:
    """Clips of these lengths, their padding anything; `extra` adds more of it."""
    torch.manual_seed(1)
    x_BTD = torch.full((len(lengths), max(lengths) + extra, V * C), 1e3)
    for row, length in enumerate(lengths):
        x_BTD[row, :length] = torch.randn(length, V * C)
    return x_BTD, torch.arange(x_BTD.shape[1]) < torch.tensor(lengths)[:, None]


def moving(encoder: GraphEncoder) -> dict[str, Tensor]:
    return {name: one for name, one in encoder.state_dict().items() if "running" in name}


def warmed(name: str, **keys: Any) -> GraphEncoder:
    """One whose running statistics are no longer those that it began with."""
    encoder = make(name, **keys)
    for _ in range(3):
        encoder.train()(*clips(6, 9, 4))
    return encoder.eval()


def test_published_sizes() -> None:
    encoder = build_encoder(StagcnEncoderConfig(), 66, 768, SMPL_22).eval()
    count = sum(p.numel() for p in encoder.network.parameters())
    assert count == 7_114_442 and abs(count / 7.15e6 - 1) < 0.01
    x_BTD, mask_BT = torch.randn(2, 3, 66), torch.ones(2, 3, dtype=torch.bool)
    with torch.no_grad():
        assert encoder.compute_point_features(x_BTD, mask_BT).shape == (2, 3, 22, 512)
        attention = encoder.compute_joint_attention(x_BTD, mask_BT)
    assert attention.point_weights_BTV.shape == (2, 3, 22)
    assert attention.clip_graphs_BKVV.shape == (2, 4, 22, 22)


def test_the_published_ten_blocks() -> None:
    encoder = build_encoder(StgcnEncoderConfig(), 66, 8, SMPL_22)
    blocks = [encoder.network.first, *encoder.network.blocks]
    assert [block.time.out_channels for block in blocks] == [64] * 4 + [128] * 3 + [256] * 3
    two = build_encoder(StgcnEncoderConfig(blocks=2, channels=3), 66, 8, SMPL_22)
    assert two.network.width == 6


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("pooling", ["skeleton", "time", "both"])
@torch.no_grad()
def test_a_clip_alone_equals_the_clip_in_a_batch(name: str, pooling: str) -> None:
    encoder = warmed(name, pooling=pooling, velocity=True)
    lengths = (6, 2, 9, 1)
    x_BTD, mask_BT = clips(*lengths, extra=3)
    out_BME, left_BM = encoder(x_BTD, mask_BT)
    wide = {"skeleton": 12, "time": V, "both": V + 12}[pooling]
    assert out_BME.shape == (4, wide, OUT) and left_BM.shape == (4, wide)
    for row, length in enumerate(lengths):
        alone_1ME, alone_1M = encoder(
            x_BTD[row : row + 1, :length], mask_BT[row : row + 1, :length]
        )
        real = out_BME[row][left_BM[row]]
        assert len(real) == int(alone_1M.sum())
        assert_same(real, alone_1ME[0])
    assert pooling != "time" or left_BM.all()


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_vectors_are_means_of_points_and_frames(name: str) -> None:
    encoder = warmed(name, pooling="both")
    x_BTD, mask_BT = clips(6, 2, 9)
    x_BTVW = encoder.compute_point_features(x_BTD, mask_BT)
    over_time_BVW = x_BTVW.sum(dim=1) / mask_BT.sum(dim=1)[:, None, None]
    wanted_BME = encoder.project(torch.cat([over_time_BVW, x_BTVW.mean(dim=2)], dim=1))
    out_BME, left_BM = encoder(x_BTD, mask_BT)
    assert_same(out_BME[left_BM], wanted_BME[left_BM])


@pytest.mark.parametrize("name", SMALL)
def test_the_first_block_drops_nothing_and_adds_nothing(name: str) -> None:
    blocks = [one for one in make(name, dropout=0.5).modules() if isinstance(one, GraphBlock)]
    others = len(blocks) - 1
    assert [block.dropout.p for block in blocks] == [0, *[0.5] * others]
    assert [block.residual is None for block in blocks] == [True, *[False] * others]


@pytest.mark.parametrize("name", SMALL)
def test_more_padding_changes_nothing_in_training(name: str) -> None:
    encoder = make(name, pooling="both").train()
    again = copy.deepcopy(encoder)
    few, more = encoder(*clips(6, 2, 9)), again(*clips(6, 2, 9, extra=20))
    for row in range(3):
        one, two = (out_BME[row][left_BM[row]] for out_BME, left_BM in (few, more))
        assert_same(one, two)
    for key, value in moving(encoder).items():
        assert_same(value, moving(again)[key])
    assert any(not value.eq(start).all() for value in moving(again).values() for start in (0, 1))


@pytest.mark.parametrize("name", SMALL)
def test_statistics_are_those_of_the_valid_frames(name: str) -> None:
    """The first norm's, counted by hand over all real frames of all clips."""
    encoder = make(name, standardize=False).train()
    x_BTD, mask_BT = clips(6, 2, 9, extra=4)
    x_NVC = x_BTD[mask_BT].view(-1, V, C)
    parents = [0, 0, 0, 3, 4, 3, 4]
    x_NVC = torch.cat([x_NVC, x_NVC - x_NVC[:, parents]], dim=2)
    mixed = torch.einsum("kpq,nqc->npkc", encoder.graphs.double(), x_NVC).flatten(2)
    first = encoder.network.first
    x_MC = first.linear(mixed).flatten(0, 1)
    encoder(x_BTD, mask_BT)
    assert_same(first.norm_graph.running_mean, 0.1 * x_MC.mean(dim=0))
    assert_same(first.norm_graph.running_var, 0.9 + 0.1 * x_MC.var(dim=0))


@pytest.mark.parametrize("name", SMALL)
def test_padding_has_no_gradient(name: str) -> None:
    encoder = make(name, pooling="both").train()
    x_BTD, mask_BT = clips(6, 2, 9)
    x_BTD.requires_grad_()
    out_BME, left_BM = encoder(x_BTD, mask_BT)
    out_BME[left_BM].square().sum().backward()
    assert x_BTD.grad is not None
    assert not x_BTD.grad[~mask_BT].any() and x_BTD.grad[mask_BT].any(dim=1).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [name for name in SMALL if name != "stgcn"])
@torch.no_grad()
def test_swapped_sides_have_swapped_attention(name: str, training: bool) -> None:
    encoder = make(name, velocity=True).train(training)
    assert isinstance(encoder, StagcnEncoder)
    mirror = list(BODY_AND_HANDS.mirror)
    mean_D, deviation_D = torch.randn(V * C), torch.rand(V * C) + 0.5
    encoder.set_statistics(mean_D, deviation_D)
    x_BTD, mask_BT = clips(6, 2, 9)
    swapped_BTD = x_BTD.unflatten(2, (V, C))[:, :, mirror].flatten(2)
    one, two = (
        encoder.compute_joint_attention(x_BTD, mask_BT),
        encoder.compute_joint_attention(swapped_BTD, mask_BT),
    )
    assert_same(two.point_weights_BTV, one.point_weights_BTV[:, :, mirror])
    assert_same(two.clip_graphs_BKVV, one.clip_graphs_BKVV[:, :, mirror][..., mirror])
    assert (one.point_weights_BTV - one.point_weights_BTV[:, :, mirror]).abs().max() > 1e-3
    assert (
        one.clip_graphs_BKVV - one.clip_graphs_BKVV[:, :, mirror][..., mirror]
    ).abs().max() > 1e-3
    features, other = (encoder.compute_point_features(x, mask_BT) for x in (x_BTD, swapped_BTD))
    assert_same(other, features[:, :, mirror])


@torch.no_grad()
def test_attention_is_what_perception_works_with() -> None:
    encoder = warmed("stagcn")
    assert isinstance(encoder, StagcnEncoder)
    x_BTD, mask_BT = clips(6, 2, 9)
    found = encoder.compute_joint_attention(x_BTD, mask_BT)
    assert (
        (found.point_weights_BTV > 0) == mask_BT[:, :, None]
    ).all() and found.point_weights_BTV.max() < 1
    assert found.clip_graphs_BKVV.min() == 0 and 0 < found.clip_graphs_BKVV.max() < 1
    before = encoder.compute_point_features(x_BTD, mask_BT)
    encoder.network.head.norm_node.bias.fill_(-20.0)  # no point counts: nothing comes through
    after = encoder.compute_point_features(x_BTD, mask_BT)
    assert encoder.compute_joint_attention(x_BTD, mask_BT).point_weights_BTV.max() < 1e-6
    assert not torch.allclose(before[..., :5], after[..., :5])
    assert torch.equal(before[..., 5:], after[..., 5:])


@torch.no_grad()
def test_graphs_say_who_takes_of_whom() -> None:
    """In the first of two graphs all take of point 3, in the second nobody of anyone."""
    encoder = make("stagcn").eval()
    assert isinstance(encoder, StagcnEncoder)
    norm = encoder.network.head.norm_graphs
    norm.weight.zero_()
    norm.bias.fill_(-5.0)[3] = 5.0
    graphs_BKVV = encoder.compute_joint_attention(*clips(6, 2)).clip_graphs_BKVV
    assert (graphs_BKVV[:, 0, :, 3] > 0.99).all() and graphs_BKVV.count_nonzero() == 2 * V


def test_bones_and_velocities_stand_beside_coordinates() -> None:
    encoder = make("stgcn", velocity=True, standardize=False)
    x_BTD = torch.zeros(1, 2, V * C)
    x_BTD[0, 1, 1 * C] = 3.0  # of point 1, whose parent is 0
    x_BTD[0, 1, 3 * C + 1] = 2.0  # of point 3, a root with the child 5
    begun = encoder.preprocess(x_BTD, FramePacker(torch.ones(1, 2, dtype=torch.bool)))
    assert begun.shape == (2, V, 4 * C) and not begun[0].any()
    assert begun[1, 1].tolist() == [3, 0, 3, 0, 3, 0, 3, 0]
    assert begun[1, 3].tolist() == [0, 2, 0, 0, 0, 2, 0, 0]
    assert begun[1, 5].tolist() == [0, 0, 0, -2, 0, 0, 0, -2]


def test_statistics_are_shared_by_both_sides() -> None:
    encoder = make("stgcn")
    mean_VC, deviation_VC = torch.zeros(V, C), torch.ones(V, C)
    mean_VC[1], mean_VC[2], deviation_VC[1], deviation_VC[0] = 1.0, 3.0, 7.0, 0.01
    encoder.set_statistics(mean_VC.flatten(), deviation_VC.flatten())
    assert encoder.mean.view(V, C)[:4, 0].tolist() == [0, 2, 2, 0]
    assert encoder.scale.view(V, C)[:3, 0].tolist() == pytest.approx([10, 0.2, 0.2])
    x_BTD = torch.zeros(1, 1, V * C)
    x_BTD[0, 0, 1 * C] = 12.0  # 10 from its mean, and its bone from the neck as well
    begun = encoder.preprocess(x_BTD, FramePacker(torch.ones(1, 1, dtype=torch.bool)))
    assert begun[0, 1].tolist() == pytest.approx([2, -0.4, 2, -0.4])
    assert begun[0, 2].tolist() == pytest.approx([-0.4] * 4)


def test_a_wide_stencil_sees_further_and_trees_stay_apart() -> None:
    """Of `stgcn` in one block: which points a point's features depend on."""
    for hops, seen in ((1, {0, 1}), (2, {0, 1, 2})):
        encoder = make("stgcn", blocks=1, hops=hops, bones=False).eval()
        x_BTD, mask_BT = clips(3)
        x_BTD.requires_grad_()
        encoder.compute_point_features(x_BTD, mask_BT)[0, :, 1].square().sum().backward()
        assert x_BTD.grad is not None
        depends = x_BTD.grad.view(3, V, C).abs().amax(dim=(0, 2)) > 0
        assert set(depends.nonzero().flatten().tolist()) == seen


@pytest.mark.parametrize("name", SMALL)
def test_adapters_begin_as_nothing_and_learn_alone(name: str) -> None:
    plain, adapted = warmed(name), make(name, lora=EncoderLoraConfig(rank=2, dropout=0.0))
    state = {key.replace(".base_layer.", "."): one for key, one in adapted.state_dict().items()}
    assert {key for key in state if not is_adapter_weight(key)} == set(plain.state_dict())
    with torch.no_grad():
        for key, value in plain.state_dict().items():
            state[key].copy_(value)
    x_BTD, mask_BT = clips(6, 2, 9)
    assert torch.equal(adapted.eval()(x_BTD, mask_BT)[0], plain(x_BTD, mask_BT)[0])
    before = {key: value.clone() for key, value in adapted.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        adapted.train()(x_BTD, mask_BT)[0].square().sum().backward()
        optimizer.step()
    moved = {key for key, value in adapted.state_dict().items() if not value.equal(before[key])}
    of_adapters = {key for key in moved if is_adapter_weight(key)}
    assert moved - of_adapters == {"project.weight", "project.bias"}
    linears = sum(isinstance(one, torch.nn.Linear) for one in plain.network.modules())
    assert len(of_adapters) == 2 * linears


@torch.no_grad()
def test_adapters_are_scaled_and_dropped_as_asked() -> None:
    encoder = make("stgcn", lora=EncoderLoraConfig(rank=2, alpha=6.0, dropout=0.5))
    layer: Any = encoder.network.first.linear
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight.fill_(1.0)
    x_NC = torch.randn(5, layer.in_features)
    added_NC = layer.eval()(x_NC) - layer.base_layer(x_NC)
    assert_same(added_NC, 3 * x_NC @ down.t() @ up.t())
    assert not torch.allclose(layer.train()(x_NC), layer.eval()(x_NC))


@pytest.mark.parametrize(
    ("kind", "plain", "said"),
    [
        (StgcnEncoderConfig, {"kernel": 4}, "odd"),
        (StgcnEncoderConfig, {"blocks": 0}, "greater than or equal to 1"),
        (StagcnEncoderConfig, {"attention": [8, 0]}, "below 1"),
        (StagcnEncoderConfig, {"features": []}, "at least 1"),
        (StgcnEncoderConfig, {"graphs": 2}, "Extra inputs"),
        (StgcnEncoderConfig, {"pooling": "points"}, "skeleton"),
    ],
)
def test_impossible_sizes_are_refused(
    kind: type[GraphEncoderConfig], plain: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        kind.model_validate(plain)
