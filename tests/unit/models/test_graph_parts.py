"""Parts of graph encoders: graphs of a skeleton, frames without padding, mixing, norms."""

import pytest
import torch
from torch import nn

from kinesweep.core.skeleton.skeleton import ROOT, SMPL_22
from kinesweep.models.encoders.batch_norm import BatchNorm
from kinesweep.models.encoders.graph_blocks import GraphBlock, mix_points
from kinesweep.models.encoders.packed_frames import FramePacker
from kinesweep.models.encoders.partition import build_graph_partition, compute_bone_distances
from ranks import run_ranks
from tolerances import assert_same
from trees import BODY_AND_HANDS, made

MASK_BT = torch.arange(5) < torch.tensor([2, 5, 1])[:, None]


def test_a_chain_in_graphs_by_distance_and_direction() -> None:
    """0 - 1 - 2 and 1 - 3: of each point's neighbours those nearer to the root are apart."""
    graphs_KVV = build_graph_partition(made((ROOT, 0, 1, 1)), hops=2)
    places = [[tuple(at) for at in (graph > 0).nonzero()] for graph in torch.tensor(graphs_KVV)]
    self, out1, in1, out2, in2 = [[(int(a), int(b)) for a, b in graph] for graph in places]
    assert self == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert out1 == [(0, 1), (1, 2), (1, 3)] and in1 == [(1, 0), (2, 1), (3, 1)]
    assert out2 == [(0, 2), (0, 3), (2, 3), (3, 2)] and in2 == [(2, 0), (3, 0)]
    assert graphs_KVV[:, 2].sum() == pytest.approx(1) and graphs_KVV[1, 1, 2] == 0.25


def test_the_body_in_seven_graphs_of_which_all_weigh_one() -> None:
    graphs_KVV = build_graph_partition(SMPL_22, hops=3)
    assert graphs_KVV.shape == (7, 22, 22)
    assert torch.tensor(graphs_KVV.sum(axis=(0, 2))) == pytest.approx(torch.ones(22))
    assert ((graphs_KVV > 0).sum(axis=0) <= 1).all()


def test_trees_of_a_skeleton_do_not_touch() -> None:
    graphs_KVV = build_graph_partition(BODY_AND_HANDS, hops=6)
    reached = (graphs_KVV.sum(axis=0) > 0).sum(axis=1)
    assert reached.tolist() == [3, 3, 3, 2, 2, 2, 2]
    hops_VV = compute_bone_distances(BODY_AND_HANDS)
    assert hops_VV[1, 2] == 2 and hops_VV[3, 5] == 1 and hops_VV[0, 3] > 1e9


def test_frames_go_onto_the_reel_and_back() -> None:
    x_BTVC = torch.arange(3 * 5 * 2.0).view(3, 5, 2, 1)
    reel = FramePacker(MASK_BT)
    packed = reel.pack(x_BTVC)
    assert packed[:, 0, 0].tolist() == [0, 2, 10, 12, 14, 16, 18, 20]
    assert torch.equal(reel.unpack(packed), x_BTVC * MASK_BT[:, :, None, None])
    assert reel.average_per_clip(packed)[:, 0, 0].tolist() == [1, 14, 20]


@pytest.mark.usefixtures("float64")
def test_a_convolution_sees_its_own_clip_and_zeros() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, (5, 1), padding=(2, 0))
    x_BTVC = torch.randn(3, 5, 4, 2)
    reel = FramePacker(MASK_BT)
    together = reel.unpack(reel.convolve_frames(reel.pack(x_BTVC), convolution))
    for clip, length in enumerate(reel.lengths):
        alone = convolution(x_BTVC[clip : clip + 1, :length].permute(0, 3, 1, 2))
        assert_same(together[clip, :length], alone[0].permute(1, 2, 0))
        assert not together[clip, length:].any()


@pytest.mark.usefixtures("float64")
def test_mixing_is_a_sum_over_points_and_has_its_gradients() -> None:
    torch.manual_seed(0)
    graphs_KVV = torch.randn(3, 4, 4, dtype=torch.double, requires_grad=True)
    x_NVC = torch.randn(5, 4, 2, dtype=torch.double, requires_grad=True)
    wanted = torch.einsum("kpq,nqc->npkc", graphs_KVV, x_NVC).flatten(2)
    assert_same(mix_points(graphs_KVV, x_NVC), wanted)
    assert torch.autograd.gradcheck(mix_points, (graphs_KVV, x_NVC))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("out", "residual"), [(2, True), (4, True), (2, False)])
def test_a_block_by_hand(out: int, residual: bool) -> None:
    """One clip, in training; norms begin without weights of their own."""
    torch.manual_seed(0)
    block = GraphBlock((2, out), (2, 0), num_points=3, kernel=3, dropout=0.0, residual=residual)
    x_NVC, skeleton_KVV = torch.randn(5, 3, 2), torch.rand(2, 3, 3)

    def normed(x_NVC: torch.Tensor) -> torch.Tensor:
        return (x_NVC - x_NVC.mean(dim=(0, 1))) / (
            x_NVC.var(dim=(0, 1), correction=0) + 1e-5
        ).sqrt()

    mixed_NVC = torch.einsum("kpq,nqc->npkc", skeleton_KVV, x_NVC).flatten(2)
    graph_NVC = normed(block.linear(mixed_NVC)).relu()
    wanted = normed(block.time(graph_NVC.permute(2, 0, 1)[None])[0].permute(1, 2, 0)).relu()
    if residual:
        assert isinstance(block.residual, nn.Module)
        wanted = wanted + (x_NVC if out == 2 else normed(block.residual[0](x_NVC)))
    found = block(x_NVC, FramePacker(torch.ones(1, 5, dtype=torch.bool)), skeleton_KVV)
    assert_same(found, wanted)


def test_a_block_drops_in_training_alone() -> None:
    torch.manual_seed(0)
    block = GraphBlock(
        (2, 40), num_graphs=(1, 0), num_points=3, kernel=3, dropout=0.9, residual=False
    )
    given = torch.randn(8, 3, 2), FramePacker(MASK_BT), torch.rand(1, 3, 3)
    assert (block.train()(*given) == 0).float().mean() > 0.85
    assert (block.eval()(*given) == 0).float().mean() < 0.7


@pytest.mark.usefixtures("float64")
@torch.no_grad()
def test_a_block_weighs_the_edges_that_there_are() -> None:
    torch.manual_seed(0)
    block = GraphBlock((2, 4), num_graphs=(2, 0), num_points=3, kernel=3, dropout=0.0).eval()
    x_NVC, reel = torch.randn(8, 3, 2), FramePacker(MASK_BT)
    skeleton_KVV, edges_KVV = torch.rand(2, 3, 3).round(), torch.rand(2, 3, 3)
    plain = block(x_NVC, reel, skeleton_KVV)
    wanted = block(x_NVC, reel, skeleton_KVV * edges_KVV)
    assert block.edges is not None and not torch.allclose(plain, wanted)
    block.edges.copy_(edges_KVV)
    assert_same(block(x_NVC, reel, skeleton_KVV), wanted)


def test_a_block_works_in_half_precision() -> None:
    block = GraphBlock((2, 4), num_graphs=(1, 1), num_points=3, kernel=3, dropout=0.0)
    reel = FramePacker(MASK_BT)
    with torch.autocast("cpu", torch.bfloat16):
        out_NVC = block(torch.randn(8, 3, 2), reel, torch.rand(1, 3, 3), torch.rand(3, 1, 3, 3))
    out_NVC.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


def test_a_gradient_over_thousands_of_frames_keeps_its_digits_in_half_precision() -> None:
    torch.manual_seed(0)
    graphs_KVV, x_NVC = torch.rand(3, 4, 4, requires_grad=True), torch.randn(4000, 4, 2) + 0.5
    found = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            total = mix_points(graphs_KVV, x_NVC).float().sum()
        found += torch.autograd.grad(total, graphs_KVV)
    torch.testing.assert_close(*found, rtol=0.02, atol=0)


@pytest.mark.usefixtures("float64")
def test_a_norm_is_pytorchs() -> None:
    torch.manual_seed(0)
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3)
    for _ in range(2):
        x_NVC = torch.randn(8, 4, 3) * 3 + 1
        assert_same(ours(x_NVC), theirs(x_NVC.flatten(0, 1)).view(8, 4, 3))
    assert_same(ours.running_var, theirs.running_var)
    assert_same(ours.eval()(x_NVC).flatten(0, 1), theirs.eval()(x_NVC.flatten(0, 1)))


@pytest.mark.usefixtures("float64")
def test_a_frozen_norm_keeps_its_statistics() -> None:
    norm = BatchNorm(3).requires_grad_(False).train()
    x_NVC = torch.randn(8, 4, 3) * 3 + 1
    assert_same(norm(x_NVC), x_NVC / (1 + 1e-5) ** 0.5)
    assert torch.equal(norm.running_mean, torch.zeros(3))


NORM = """
import torch
from kinesweep.models.encoders.batch_norm import BatchNorm
torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double  # statistics are taken in float32 otherwise
torch.manual_seed(0)
x = torch.randn(9, 2, 3) * 2 + 1
mine = x[:5] if rank == 0 else x[5:]
mine.requires_grad_()
norm = BatchNorm(3)
out = norm(mine)
(out * torch.arange(1.0, 4.0)).square().sum().backward()
held = {"out": out, "grad": mine.grad, "weight": norm.weight.grad, "mean": norm.running_mean,
        "var": norm.running_var}
print(json.dumps({name: value.tolist() for name, value in held.items()}))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_two_ranks_norm_as_one() -> None:
    torch.manual_seed(0)
    x_NVC = (torch.randn(9, 2, 3) * 2 + 1).requires_grad_()
    norm = BatchNorm(3)
    out_NVC = norm(x_NVC)
    (out_NVC * torch.arange(1.0, 4.0)).square().sum().backward()
    said = [
        {name: torch.tensor(value) for name, value in one.items()} for one in run_ranks(NORM, [], 2)
    ]
    assert_same(torch.cat([one["out"] for one in said]), out_NVC)
    assert_same(torch.cat([one["grad"] for one in said]), x_NVC.grad)
    assert_same(sum(one["weight"] for one in said), norm.weight.grad)
    for one in said:
        assert_same(one["mean"], norm.running_mean)
        assert_same(one["var"], norm.running_var)
    assert all(torch.equal(said[0][name], said[1][name]) for name in ("mean", "var"))
