"""Clips that lack a stream are computed as if the model had never had it in their batch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import Batch
from kinesweep.core.seeds import seed_everything
from kinesweep.core.skeleton.skeleton import ROOT
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from kinesweep.models.attention_maps import compute_attention_maps
from kinesweep.models.fusion import draw_kept_streams
from ranks import run_ranks
from tolerances import assert_same
from trees import made

pytestmark = pytest.mark.usefixtures("float64")

Build = Callable[..., Translator]
Alone = Callable[[Batch, int], Batch]
FUSIONS: list[dict[str, Any]] = [
    {"kind": "time"},
    {"kind": "time", "separators": True},
    {"kind": "channel", "length_of": "dino"},
    {"kind": "channel", "length_of": "pose", "resample": "nearest"},
]


@pytest.fixture
def build(recipe: Callable[..., ModelConfig], words: Vocabulary) -> Build:
    """A model over `pose` (5) and `dino` (3): `build(fusion, encoder="stgcn")`."""

    def make(fusion: dict[str, Any], encoder: str = "linear", **keys: Any) -> Translator:
        seed_everything(1)
        plain = recipe(encoder=encoder, dropout=0.0).model_dump(mode="json")
        if encoder != "linear":
            shape = {
                "stgcn": {"channels": 4, "blocks": 2},
                "stagcn": {"features": [4], "attention": [4], "perception": [4]},
            }
            plain["encoder"] = {"kind": encoder, "dropout": 0.0, **shape[encoder]}
        config = ModelConfig.model_validate({**plain, "fusion": fusion, **keys})
        widths = {"pose": 5, "dino": 3}
        skeletons = {name: made([ROOT, *range(width - 1)]) for name, width in widths.items()}
        return build_translator(config, widths, words, skeletons=skeletons)

    return make


def lack(batch: Batch, stream: str, *rows: int) -> Batch:
    """A batch whose rows lack a stream; noise stands where their features were."""
    mask = batch.frame_masks[stream].clone()
    mask[list(rows)] = False
    return replace(batch, frame_masks={**batch.frame_masks, stream: mask})


def inputs(model: Translator, batch: Batch) -> tuple[Tensor, Tensor]:
    return model.build_inputs_embeds(**batch.get_generate_kwargs())


@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
@pytest.mark.parametrize("stream", ["pose", "dino"])
def test_a_clip_without_a_stream_is_the_same_alone_and_in_a_batch(
    build: Build, batch: Batch, alone: Alone, fusion: dict[str, Any], stream: str
) -> None:
    model = build(fusion).eval()
    mixed = lack(batch, stream, 0, 2)
    x_BNE, mask_BN = inputs(model, mixed)
    for row in range(4):
        own_1NE, own_mask_1N = inputs(model, alone(mixed, row))
        assert own_mask_1N.all() and int(mask_BN[row].sum()) == own_1NE.shape[1]
        assert_same(x_BNE[row, : own_1NE.shape[1]], own_1NE[0])


def test_fused_in_time_only_the_other_stream_is_left(
    build: Build, batch: Batch, alone: Alone
) -> None:
    """No vector and no separator: 2 prompt tokens, a separator, 1 frame, the end."""
    model = build({"kind": "time", "separators": True}).eval()
    x_1NE, _ = inputs(model, alone(lack(batch, "dino", 3), 3))
    assert x_1NE.shape[1] == 2 + 1 + 1 + 1
    whole_1NE, _ = inputs(model, alone(batch, 3))
    assert_same(x_1NE[0, :4], whole_1NE[0, :4])


def test_fused_by_channel_it_adds_zeros(build: Build, batch: Batch, alone: Alone) -> None:
    model = build({"kind": "channel", "length_of": "dino"}).eval()
    clip = alone(lack(batch, "dino", 2), 2)
    x_1NE, _ = inputs(model, clip)
    pose_1NE, _ = model.encoders["pose"](clip.streams["pose"], clip.frame_masks["pose"])
    width = pose_1NE.shape[2]
    wanted = pose_1NE @ model.fusion.project.weight[:, :width].T + model.fusion.project.bias
    assert_same(x_1NE[:, 1:6], wanted)


@pytest.mark.parametrize("kind", ["stgcn", "stagcn"])
def test_batch_statistics_do_not_see_it(build: Build, batch: Batch, kind: str) -> None:
    """Two clips with the stream, and two without it, leave the statistics of the two."""
    mixed, pair = build({"kind": "time"}, kind), build({"kind": "time"}, kind)
    loss = mixed(**lack(batch, "dino", 1, 3).get_forward_kwargs()).loss
    assert torch.isfinite(loss)
    rows = [0, 2]
    x, mask = batch.streams["dino"][rows], batch.frame_masks["dino"][rows]
    pair.encoders["dino"](x, mask)
    buffers = dict(mixed.encoders["dino"].named_buffers())
    moved = [name for name in buffers if name.endswith("running_mean")]
    assert moved
    for name, value in pair.encoders["dino"].named_buffers():
        torch.testing.assert_close(buffers[name], value)


@pytest.mark.parametrize("kind", ["linear", "stgcn"])
@pytest.mark.parametrize("fusion", FUSIONS[1:3], ids=str)
def test_no_clip_of_a_batch_may_have_it(
    build: Build, batch: Batch, kind: str, fusion: dict[str, Any]
) -> None:
    """Its weights get a gradient, of zero, as on another rank; nothing else changes."""
    model = build(fusion, kind)
    before = {name: value.clone() for name, value in model.encoders["dino"].named_buffers()}
    none = lack(batch, "dino", 0, 1, 2, 3)
    empty = {**none.streams, "dino": none.streams["dino"][:, :0]}
    masks = {**none.frame_masks, "dino": none.frame_masks["dino"][:, :0]}
    model(**replace(none, streams=empty, frame_masks=masks).get_forward_kwargs()).loss.backward()
    for parameter in model.encoders["dino"].parameters():
        assert parameter.grad is not None and not parameter.grad.any()
    assert any(p.grad.any() for p in model.encoders["pose"].parameters())
    for name, value in model.encoders["dino"].named_buffers():
        assert torch.equal(before[name], value), name


def test_a_dropped_stream_is_never_the_only_one() -> None:
    """With dropout, a clip keeps a stream that it has."""
    torch.manual_seed(0)
    counts = {"pose": [2] * 400, "dino": [row % 2 for row in range(400)]}
    kept_BS = torch.tensor(draw_kept_streams(counts, 0.6))
    assert kept_BS.any(dim=1).all() and not kept_BS[::2, 1].any()
    assert kept_BS[::2, 0].all() and not kept_BS[1::2, 0].all()


@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
def test_attention_is_given_to_the_streams_that_are_there(
    build: Build, batch: Batch, fusion: dict[str, Any]
) -> None:
    maps = compute_attention_maps(build(fusion).eval(), lack(batch, "dino", 0, 1))
    for row, found in enumerate(maps):
        streams = {span.stream: span for span in found.spans if span.kind == "stream"}
        num_vectors = sum(span.end - span.first for span in streams.values())
        num_sources = sum(len(span.source_spans) for span in streams.values())
        assert num_vectors == num_sources > 0, row


RANKS = """
import torch
from torch import nn
from kinesweep.models.encoders.batch_norm import BatchNorm
from kinesweep.models.encoders.present_clips import encode_present_clips
torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double  # statistics are taken in float32 otherwise
torch.manual_seed(0)
x_BTD = torch.randn(4, 5, 3) * 2 + 1
mask_BT = torch.ones(4, 5, dtype=torch.bool)
mask_BT[2:] = False
norm = BatchNorm(3)


def step(x, mask):
    encode = lambda streams, masks, lengths: (norm(streams["a"]), masks["a"])
    lengths = {"a": mask.sum(dim=1).tolist()}
    out, kept = encode_present_clips(encode, norm, {"a": x}, {"a": mask}, lengths)
    (out * kept[:, :, None] * torch.arange(1.0, 4.0)).square().sum().backward()


first = 2 * rank if world == 2 else 0
step(x_BTD[first : first + 4 // world], mask_BT[first : first + 4 // world])
step(x_BTD[:1], mask_BT[:1] & False)  # no rank has a clip with the stream
held = {"weight": norm.weight.grad, "mean": norm.running_mean, "var": norm.running_var}
print(json.dumps({name: value.tolist() for name, value in held.items()}))
"""


@pytest.mark.slow
def test_a_rank_without_the_stream_takes_part(float64: None) -> None:
    """It joins the sums over ranks, adds nothing, and ends with the same statistics."""
    (alone,) = run_ranks(RANKS, [], 1)
    first, second = run_ranks(RANKS, [], 2)
    for name in ("mean", "var"):
        assert first[name] == second[name]
        assert_same(torch.tensor(first[name]), torch.tensor(alone[name]))
    assert not any(second["weight"])
    assert_same(torch.tensor(first["weight"]), torch.tensor(alone["weight"]))
