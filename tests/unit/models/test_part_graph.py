"""The encoder of part graphs: equal to the published computation, and what its switches do."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.graph import EncoderLoraConfig
from kinesweep.config.recipe.model.part_graph import PartGraphEncoderConfig
from kinesweep.config.recipe.source import PoseFeaturesConfig
from kinesweep.core.errors import ConfigError
from kinesweep.core.skeleton.body_parts import find_body_parts
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import ROOT, SKELETONS, SMPL_22, Skeleton, find_skeleton
from kinesweep.features.pose import PoseFeatures
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.graph_encoder import GraphEncoder
from kinesweep.models.streams import check_skeletons
from tolerances import assert_same
from trees import over

pytestmark = pytest.mark.usefixtures("float64")

# The published graphs (arXiv 2501.15187): body, hand, face.
ARMS = [(0, 1), (0, 2), (0, 3), (0, 4), (3, 5), (5, 7), (4, 6), (6, 8)]
FINGERS = [(0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21)]
JAW = [(at, at + 1) for at in range(8)]
LIPS = [(at, at + 1) for at in range(9, 16)] + [(16, 9)]
NOSE = [(17, at) for at in range(17)]
EDGES = {"body": ARMS, "left_hand": FINGERS, "right_hand": FINGERS, "face": JAW + LIPS + NOSE}
SIZES = {"body": 9, "left_hand": 21, "right_hand": 21, "face": 18}
KEYS = {"body": "part_0", "left_hand": "hand", "right_hand": "hand", "face": "part_3"}


def uni_sign() -> Skeleton:
    features = PoseFeatures(PoseFeaturesConfig(points="uni_sign_69"))
    skeleton = find_skeleton(features.select_layout(SKELETONS["coco_wholebody_133"].layout))
    assert skeleton is not None
    return skeleton


def make(skeleton: Skeleton | None = None, values: int = 3, **keys: Any) -> GraphEncoder:
    torch.manual_seed(0)
    skeleton = skeleton or uni_sign()
    config = PartGraphEncoderConfig.model_validate({"channels": 4, **keys})
    encoder = build_encoder(config, values * skeleton.num_points, 10, skeleton)
    assert isinstance(encoder, GraphEncoder)
    for name, weight in encoder.named_parameters():
        if name.endswith("edges"):  # they begin at zero
            torch.nn.init.normal_(weight, std=0.1)
    for name, numbers in encoder.named_buffers():
        if "running" in name:  # so that a norm is not the identity
            torch.nn.init.uniform_(numbers, 0.1, 0.3)
    return encoder.eval()


def publish(encoder: GraphEncoder, x_BTD: Tensor) -> Tensor:
    """The published computation over (B, C, T, V), with the weights of an encoder."""
    weights = encoder.state_dict()

    def norm(x_BCTV: Tensor, name: str) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x_BCTV, *(weights[f"{name}.{key}"] for key in keys))

    def linear(x_BCTV: Tensor, name: str) -> Tensor:
        kernel = weights[f"{name}.weight"][:, :, None, None]
        return functional.conv2d(x_BCTV, kernel, weights[f"{name}.bias"])

    def block(x: Tensor, name: str, base: Tensor) -> Tensor:
        graphs = base + weights[f"{name}.edges"].transpose(1, 2)
        y = linear(x, f"{name}.linear").unflatten(1, (2, -1))
        y = norm(torch.einsum("nkctv,kvw->nctw", y, graphs), f"{name}.norm_graph").relu()
        if f"{name}.time.weight" in weights:
            kernel, bias = weights[f"{name}.time.weight"], weights[f"{name}.time.bias"]
            y = norm(functional.conv2d(y, kernel, bias, padding=(2, 0)), f"{name}.norm_time")
        if f"{name}.residual.0.weight" in weights:
            x = norm(linear(x, f"{name}.residual.0"), f"{name}.residual.1")
        return (y + x).relu()

    pooled, first, body = [], 0, torch.empty(0)
    for part, size in SIZES.items():
        adjacency = torch.eye(size)
        for start, end in EDGES[part]:
            adjacency[start, end] = adjacency[end, start] = 1
        shares = (adjacency / adjacency.sum(dim=0)).numpy().astype(np.float32)
        adjacency = torch.from_numpy(shares.astype(np.float64))  # as it is saved
        base = torch.stack([adjacency * torch.eye(size), adjacency * (1 - torch.eye(size))])
        name = f"network.parts.{KEYS[part]}"
        x = x_BTD.unflatten(2, (69, 3))[:, :, first : first + size].permute(0, 3, 1, 2)
        first += size
        x = linear(x, f"{name}.project")
        for at in range(3):
            x = block(x, f"{name}.spatial.{at}", base)
        if part == "body":
            body = x
        else:
            x = x + body[..., {"left_hand": -2, "right_hand": -1, "face": 0}[part]][..., None]
        for at in range(3):
            x = block(x, f"{name}.temporal.{at}", base)
        pooled.append(x.mean(dim=-1).transpose(1, 2))
    joined = torch.cat(pooled, dim=-1)
    return functional.linear(joined, weights["project.weight"], weights["project.bias"])


@torch.no_grad()
def test_it_equals_the_published_computation() -> None:
    encoder, x_BTD = make(), torch.randn(2, 6, 207)
    out_BTE, mask_BT = encoder(x_BTD, torch.ones(2, 6, dtype=torch.bool))
    assert mask_BT.all() and out_BTE.shape == (2, 6, 10)
    assert_same(out_BTE, publish(encoder, x_BTD))
    points = encoder.compute_point_features(x_BTD, mask_BT).unflatten(-1, (4, -1))
    assert (points != 0).any(dim=-1).all()  # no part is silent behind its last ReLU


def test_it_has_the_published_number_of_weights() -> None:
    def block(width: int, out: int, points: int, kernel: int) -> int:
        graph = (width + 1) * 2 * out + 2 * points**2 + 2 * out
        time = (kernel * out + 1) * out + 2 * out if kernel > 1 else 0
        return graph + time + ((width + 1) * out + 2 * out if width != out else 0)

    published = 0
    for points in (9, 21, 18):  # both hands share theirs
        published += (3 + 1) * 64
        published += sum(block(a, b, points, 1) for a, b in ((64, 64), (64, 128), (128, 256)))
        published += 3 * block(256, 256, points, 5)
    encoder = build_encoder(PartGraphEncoderConfig(), 207, 768, uni_sign())
    assert isinstance(encoder, GraphEncoder)
    assert sum(p.numel() for p in encoder.network.parameters()) == published == 4_557_864
    # The last layer, without the bias that the publication adds to its input.
    assert sum(p.numel() for p in encoder.project.parameters()) == 4 * 256 * 768 + 768
    assert encoder.network.width == 4 * 256


def test_the_edges_are_the_published_ones() -> None:
    for part in find_body_parts(uni_sign()):
        wanted = {(min(pair), max(pair)) for pair in EDGES[part.kind]}
        assert {(min(pair), max(pair)) for pair in part.edges} == wanted, part.kind
        assert len(part.edges) == len(wanted)
    attachments = [part.attachment for part in find_body_parts(uni_sign())]
    assert attachments == [(), (7,), (8,), (0,)]


@torch.no_grad()
def test_hands_share_their_weights_or_not() -> None:
    x_BTD, mask_BT = torch.randn(1, 4, 207), torch.ones(1, 4, dtype=torch.bool)
    turned_BTD = x_BTD.unflatten(2, (69, 3)).clone()
    turned_BTD[:, :, 9:30], turned_BTD[:, :, 30:51] = (
        turned_BTD[:, :, 30:51].clone(),
        turned_BTD[:, :, 9:30].clone(),
    )
    for shares in (True, False):
        encoder = make(share_hands=shares, fuse_body="none")
        outs = []
        for x in (x_BTD, turned_BTD.flatten(2)):
            outs.append(encoder.compute_point_features(x, mask_BT).unflatten(-1, (4, -1)))
        swapped = torch.allclose(outs[0][..., 1, :], outs[1][..., 2, :])
        assert swapped is shares
    assert len(make(share_hands=False).network.parts) == 4 == len(make().network.parts) + 1


@pytest.mark.parametrize("fuse", ["detached", "attached", "none"])
def test_the_body_reaches_the_hands_as_configured(fuse: str) -> None:
    encoder, mask_BT = make(fuse_body=fuse), torch.ones(1, 4, dtype=torch.bool)
    x_BTD = torch.randn(1, 4, 207, requires_grad=True)
    parts = encoder.compute_point_features(x_BTD, mask_BT).unflatten(-1, (4, -1))
    parts[..., 1, :].sum().backward()  # the left hand alone
    assert x_BTD.grad is not None
    body, left, right = (x_BTD.grad[..., at].any() for at in (slice(27), slice(27, 90), 100))
    assert left and not right and bool(body) is (fuse == "attached")
    with torch.no_grad():
        moved_BTD = x_BTD.detach().clone()
        moved_BTD[..., :27] += 1
        moved = encoder.compute_point_features(moved_BTD, mask_BT).unflatten(-1, (4, -1))
    assert torch.equal(moved[..., 1, :], parts[..., 1, :]) is (fuse == "none")


@torch.no_grad()
def test_a_clip_alone_equals_the_clip_in_a_batch_when_frames_are_averaged() -> None:
    encoder = make(downsample=3)
    x_BTD, mask_BT = torch.randn(2, 8, 207), torch.arange(8) < torch.tensor([[8], [4]])
    x_BTD[1, 4:] = 1e3
    out_BTE, out_mask_BT = encoder(x_BTD, mask_BT)
    assert out_mask_BT.sum(dim=1).tolist() == [3, 2]
    alone_BTE, _ = encoder(x_BTD[1:, :4], mask_BT[1:, :4])
    assert_same(out_BTE[1, :2], alone_BTE[0])
    assert [(span.first, span.end) for span in encoder.get_source_spans(8)] == [
        (0, 3),
        (3, 6),
        (6, 8),
    ]


@pytest.mark.parametrize("name", ["holistic_178", "coco_wholebody_133"])
def test_named_layouts_split_in_parts(name: str) -> None:
    skeleton = SKELETONS[name]
    parts = find_body_parts(skeleton)
    assert sorted(part.kind for part in parts) == ["body", "face", "left_hand", "right_hand"]
    assert parts[-1].end == skeleton.num_points
    encoder = make(skeleton, values=2)
    x_BTD = torch.randn(1, 2, 2 * skeleton.num_points)
    assert encoder(x_BTD, torch.ones(1, 2, dtype=torch.bool))[0].isfinite().all()


def test_a_declared_skeleton_splits_by_its_components() -> None:
    parents = (ROOT, 0, 1, 2, 3, ROOT, 5, ROOT)
    layout = PointLayout(
        (
            ("trunk", ("a", "b", "c")),
            ("Hand_Left", ("p", "q")),
            ("Hand_Right", ("p", "q")),
            ("FACE", ("own_1",)),
        )
    )
    parts = find_body_parts(Skeleton("own", layout, parents, tuple(range(8))))
    assert [part.kind for part in parts] == ["body", "left_hand", "right_hand", "face"]
    assert [part.edges for part in parts] == [((0, 1), (1, 2)), ((0, 1),), ((0, 1),), ()]
    # The right hand hangs on nothing, so on the whole body.
    assert [part.attachment for part in parts] == [(), (2,), (0, 1, 2), (0, 1, 2)]


def test_own_bones_in_a_face_of_a_known_name_are_kept() -> None:
    layout = SKELETONS["coco_wholebody_133"].layout
    face = next(part for part in find_body_parts(over(layout)) if part.kind == "face")
    assert face.edges == tuple((at, at + 1) for at in range(67))


@pytest.mark.parametrize(
    ("skeleton", "keys", "path", "words"),
    [
        (SMPL_22, {}, "model.encoder.kind", "in several components"),
        (SKELETONS["holistic_hands"], {}, "model.encoder.fuse_body", "set it to `none`"),
        (
            over(
                PointLayout((("BODY", ("a",)), ("L_LEFT_HAND", ("a", "b")), ("RIGHT_HAND", ("a",))))
            ),
            {},
            "model.encoder.share_hands",
            "set it to false",
        ),
    ],
)
def test_skeletons_that_do_not_fit(
    skeleton: Skeleton, keys: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make(skeleton, **keys)
    assert path in str(caught.value)
    if path.endswith("kind"):
        config = ModelConfig.model_validate(
            {"encoder": {"kind": "part_graph"}, "backbone": {"pretrained": "x"}}
        )
        with pytest.raises(ConfigError, match=words):
            check_skeletons(config, {"pose": 66}, {"pose": skeleton})


def test_hands_alone_need_no_body() -> None:
    encoder = make(SKELETONS["holistic_hands"], fuse_body="none")
    assert list(encoder.network.parts) == ["hand"]


def test_adapters_are_all_that_learns_in_the_network() -> None:
    encoder = make(lora=EncoderLoraConfig(rank=2))
    names = [name for name, p in encoder.network.named_parameters() if p.requires_grad]
    assert names and all("lora_" in name for name in names)
    assert not any("part_2" in name for name in names)


def test_each_limit_of_a_setting() -> None:
    for keys in ({"kernel": 4}, {"pooling": "time"}, {"fuse_body": True}, {"downsample": 0}):
        with pytest.raises(ValueError, match=r"kernel|pooling|fuse_body|downsample"):
            PartGraphEncoderConfig.model_validate(keys)
    assert np.isclose(PartGraphEncoderConfig().dropout, 0)


def test_a_component_with_both_hands_is_neither() -> None:
    names = ("BODY", "LEFT_AND_RIGHT_HAND", "LEFT_HAND", "HANDS")
    layout = PointLayout(tuple((name, ("a", "b")) for name in names))
    skeleton = Skeleton("hands", layout, parents=(ROOT, 0) * 4, mirror=tuple(range(8)))
    kinds = [part.kind for part in find_body_parts(skeleton)]
    assert kinds == ["body", "other", "left_hand", "other"]
