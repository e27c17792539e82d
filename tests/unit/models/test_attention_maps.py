"""What a model is said to look at is what it computes with, and every place has a name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import IGNORE, Batch
from kinesweep.core.seeds import seed_everything
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from kinesweep.models.attention_maps import AttentionMap, compute_attention_maps
from kinesweep.models.encoders.cnn import CnnEncoder
from kinesweep.models.encoders.frame_encoder import SourceSpan
from tolerances import assert_same

pytestmark = pytest.mark.usefixtures("float64")

Alone = Callable[[Batch, int], Batch]
LLAMA = {
    "architecture": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
    "max_position_embeddings": 64,
}
LAYERS = {"t5": 2, "m2m_100": 2, "bart": 2, "llama": 2, "gpt2": 2}
T5 = {"d_model": 16, "num_layers": 2, "d_ff": 32, "num_heads": 2, "d_kv": 8}
GPT2 = {"architecture": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}


@pytest.fixture
def build(recipe: Callable[..., ModelConfig], words: Vocabulary) -> Callable[..., Translator]:
    """A model over `pose` (5) and `dino` (3); further keys lie over its recipe."""

    def make(architecture: str, **changes: Any) -> Translator:
        causal = {"llama": LLAMA, "gpt2": GPT2}
        if architecture in causal:
            plain: dict[str, Any] = {
                "backbone": {"kind": "causal", "scratch": causal[architecture]}
            }
        else:
            plain = recipe(architecture).model_dump(mode="json")
        seed_everything(1)
        config = ModelConfig.model_validate({**plain, **changes})
        return build_translator(config, {"pose": 5, "dino": 3}, words).eval()

    return make


def shares(found: AttentionMap) -> dict[str, Tensor]:
    """Kind and stream → what all its places get, (A, H, L)."""
    return {
        f"{p.kind} {p.stream}".strip(): found.weights_AHLM[..., p.first : p.end].sum(-1)
        for p in found.spans
    }


def called(module: nn.Module, model: Translator, batch: Batch) -> tuple[dict[str, Any], Any]:
    """What a part of a model is given, and gives, while the model scores a batch."""
    given: list[Any] = []
    hook = module.register_forward_hook(lambda *all_: given.append(all_), with_kwargs=True)
    model(**batch.get_forward_kwargs())
    hook.remove()
    _, _, kwargs, output = given[0]
    return kwargs, output


@pytest.mark.parametrize("architecture", list(LAYERS))
def test_rows_sum_to_1_over_all_that_is_read(
    build: Callable[..., Translator], batch: Batch, architecture: str
) -> None:
    """Prompt, frames, end and, of a causal model, earlier text; none of it padding."""
    fusion = {"kind": "time", "separators": True}
    found = compute_attention_maps(build(architecture, fusion=fusion), batch)
    for row, own in enumerate(found):
        layers, heads, labels, places = own.weights_AHLM.shape
        assert (layers, heads) == (LAYERS[architecture], 2)
        assert labels == int((batch.labels_BL[row] != IGNORE).sum())
        assert_same(own.weights_AHLM.sum(-1), torch.ones(layers, heads, labels))
        ends = [place.end for place in own.spans]
        assert [place.first for place in own.spans] == [0, *ends[:-1]] and ends[-1] == places
        counts = {f"{p.kind} {p.stream}".strip(): p.end - p.first for p in own.spans}
        causal = {"end": 0, "text": labels - 1}
        assert counts == {
            "prompt": int(batch.prompt_mask_BP[row].sum()),
            "separator pose": 1,
            "stream pose": int(batch.frame_masks["pose"][row].sum()),
            "separator dino": 1,
            "stream dino": int(batch.frame_masks["dino"][row].sum()),
            "after": 0,
            **(causal if architecture in {"llama", "gpt2"} else {"end": 1}),
        }


@pytest.mark.parametrize("architecture", list(LAYERS))
def test_a_row_in_a_batch_looks_as_if_alone(
    build: Callable[..., Translator], batch: Batch, alone: Alone, architecture: str
) -> None:
    """So no padding of frames, prompts or labels is ever among what is looked at."""
    model = build(architecture)
    for row, own in enumerate(compute_attention_maps(model, batch)):
        (single,) = compute_attention_maps(model, alone(batch, row))
        assert single.spans == own.spans
        assert_same(single.weights_AHLM, own.weights_AHLM)


def test_t5_computes_with_these_weights(
    build: Callable[..., Translator], batch: Batch, alone: Alone
) -> None:
    """With the fast kernel: weights × values, put out, is what its cross-attention gives."""
    model, clip = build("t5"), alone(batch, 1)
    assert model.backbone.config._attn_implementation == "sdpa"
    (found,) = compute_attention_maps(model, clip)
    for layer, block in enumerate(model.backbone.decoder.block):
        module = block.layer[1].EncDecAttention
        kwargs, output = called(module, model, clip)
        values_HNK = module.v(kwargs["key_value_states"])[0].unflatten(1, (2, -1)).transpose(0, 1)
        seen_LE = (found.weights_AHLM[layer] @ values_HNK).transpose(0, 1).flatten(1)
        assert_same(module.o(seen_LE), output[0][0])


def test_a_llama_computes_with_these_weights(
    build: Callable[..., Translator], batch: Batch, alone: Alone
) -> None:
    """Row l is of the place that writes token l: the last vector, then each token but the last."""
    model, clip = build("llama"), alone(batch, 1)
    (found,) = compute_attention_maps(model, clip)
    labels = int(clip.labels_BL.shape[1])
    for layer, block in enumerate(model.backbone.model.layers):
        module = block.self_attn
        kwargs, output = called(module, model, clip)
        values_ME = module.v_proj(kwargs["hidden_states"])[0]  # one for both heads
        assert len(values_ME) == found.weights_AHLM.shape[-1]
        seen_LE = (found.weights_AHLM[layer] @ values_ME).transpose(0, 1).flatten(1)
        assert_same(module.o_proj(seen_LE), output[0][0, -labels:])


def test_the_model_is_left_as_it_was(build: Callable[..., Translator], batch: Batch) -> None:
    for architecture in ("t5", "llama"):
        model = build(architecture)
        before = (
            model.backbone.config._attn_implementation,
            model(**batch.get_forward_kwargs()).logits,
        )
        compute_attention_maps(model, batch)
        assert model.backbone.config._attn_implementation == before[0]
        assert torch.equal(model(**batch.get_forward_kwargs()).logits, before[1])


def test_text_to_come_is_never_looked_at(build: Callable[..., Translator], batch: Batch) -> None:
    for own in compute_attention_maps(build("llama"), batch):
        text = own.spans[-1]
        written_AHLL = own.weights_AHLM[..., text.first :]
        assert torch.equal(written_AHLL.triu(), torch.zeros_like(written_AHLL))


def test_vectors_stand_for_frames(build: Callable[..., Translator], batch: Batch) -> None:
    """Of a stride the frames that they are made of, the last one's fewer; no frame twice."""
    model = build(
        "t5",
        encoders={
            "pose": {"kind": "cnn", "kernels": [3, 3], "strides": [2, 2], "channels": 4},
            "dino": {"kind": "linear", "downsample": 3},
        },
    )
    found = compute_attention_maps(model, batch)
    by_stream = [
        {p.stream: p.source_spans for p in own.spans if p.kind == "stream"} for own in found
    ]
    assert by_stream[0]["pose"] == (SourceSpan(0, 2), SourceSpan(2, 7))  # middles at frames 0 and 4
    assert by_stream[1]["dino"] == (SourceSpan(0, 3), SourceSpan(3, 4))
    for row, own in enumerate(found):
        for place in own.spans:
            if place.kind == "stream":
                frames = int(batch.frame_masks[place.stream][row].sum())
                bounds = [(one.first, one.end) for one in place.source_spans]
                assert len(bounds) == place.end - place.first
                assert [0, *(end for _, end in bounds)] == [*(first for first, _ in bounds), frames]


@pytest.mark.parametrize("frames", range(1, 14))
def test_a_cnn_gives_as_many_vectors_as_it_names(frames: int) -> None:
    config = ModelConfig.model_validate(
        {
            "encoder": {"kind": "cnn", "kernels": [3, 5], "strides": [2, 3], "channels": 4},
            "backbone": {"scratch": {"architecture": "t5"}},
        }
    ).encoder
    encoder = CnnEncoder(config, 2, 4).eval()  # type: ignore[arg-type]
    x_BTE, _ = encoder(torch.randn(1, frames, 2), torch.ones(1, frames, dtype=torch.bool))
    named = encoder.get_source_spans(frames)
    assert len(named) == x_BTE.shape[1] and named[-1].end == frames


def test_streams_that_are_cut_to_fit_lose_their_ends(
    build: Callable[..., Translator], batch: Batch
) -> None:
    short = {**LLAMA, "max_position_embeddings": 16}
    model = build("llama", backbone={"kind": "causal", "scratch": short}, reserved_text_tokens=6)
    (first, *_) = compute_attention_maps(model, batch)
    streams = {p.stream: p.source_spans for p in first.spans if p.kind == "stream"}
    assert [one.first for one in streams["pose"]] == list(range(len(streams["pose"])))
    assert first.spans[-1].first <= 10


def test_side_by_side_streams_are_those_of_the_leading_one(
    build: Callable[..., Translator], batch: Batch
) -> None:
    model = build("t5", fusion={"kind": "channel", "length_of": "dino"})
    for row, own in enumerate(compute_attention_maps(model, batch)):
        (stream,) = [place for place in own.spans if place.kind == "stream"]
        assert stream.stream == "dino"
        assert len(stream.source_spans) == int(batch.frame_masks["dino"][row].sum())
    assert set(shares(own)) == {"prompt", "stream dino", "after", "end"}


@pytest.mark.parametrize("kind", ["stgcn", "stagcn"])
@pytest.mark.parametrize("pooling", ["skeleton", "time", "both"])
def test_graph_encoders_give_joints_or_frames(words: Vocabulary, kind: str, pooling: str) -> None:
    """A joint's vector is told from a frame's, and how much joints count is the encoder's own."""
    small: dict[str, Any] = {"kind": kind, "pooling": pooling, "kernel": 3}
    tiny = {"channels": 4, "blocks": 2}
    branches = {name: [4] for name in ("features", "attention", "perception")}
    small |= tiny if kind == "stgcn" else {**branches, "head": 4}
    plain = {"encoder": small, "backbone": {"scratch": {**T5, "architecture": "t5"}}}
    seed_everything(1)
    config = ModelConfig.model_validate(plain)
    model = build_translator(config, {"s": 66}, words, skeletons={"s": SMPL_22}).eval()
    lengths = torch.tensor([7, 4])
    mask_BT = torch.arange(7) < lengths[:, None]
    none_B0 = torch.zeros(2, 0, dtype=torch.int64)
    batch = Batch(
        clip_ids=("a", "b"),
        streams={"s": torch.randn(2, 7, 66) * mask_BT[:, :, None]},
        frame_masks={"s": mask_BT},
        prompt_ids_BP=none_B0,
        prompt_mask_BP=none_B0.bool(),
        suffix_ids_BA=none_B0,
        suffix_mask_BA=none_B0.bool(),
        labels_BL=torch.tensor([[5, 6, 2], [7, 2, IGNORE]]),
        forced_ids_BF=none_B0,
        forced_mask_BF=none_B0.bool(),
    )
    encoder: Any = model.encoders["s"]
    for row, (own, length) in enumerate(
        zip(compute_attention_maps(model, batch), lengths.tolist(), strict=True)
    ):
        (stream,) = [place for place in own.spans if place.kind == "stream"]
        joints = [SourceSpan(0, length, joint) for joint in range(22)]
        single = [SourceSpan(frame, frame + 1) for frame in range(length)]
        wanted = {"skeleton": single, "time": joints, "both": [*joints, *single]}[pooling]
        assert list(stream.source_spans) == wanted and stream.end - stream.first == len(wanted)
        assert_same(own.weights_AHLM.sum(-1), torch.ones(own.weights_AHLM.shape[:3]))
        if kind == "stagcn":
            point_weights_BTV = encoder.compute_joint_attention(
                batch.streams["s"], mask_BT
            ).point_weights_BTV
            assert_same(own.joint_weights["s"], point_weights_BTV[row, :length])
        else:
            assert own.joint_weights == {}
