"""No forward or backward pass reads a value from the device, for which the host would wait."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from host_syncs import record_syncs
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import Batch, BatchLayout
from kinesweep.core.seeds import seed_everything
from kinesweep.core.skeleton.skeleton import ROOT
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.data.collate import BatchItem, ClipTokens, collate
from kinesweep.models import Translator, build_translator
from kinesweep.training.loop.batch_split import split_batch
from trees import made

M2M = {
    "architecture": "m2m_100",
    "d_model": 16,
    **{f"{side}_{name}": 1 for side in ("encoder", "decoder") for name in ("layers",)},
    **{f"{side}_ffn_dim": 16 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 2 for side in ("encoder", "decoder")},
    **{f"{side}_layerdrop": 0.0 for side in ("encoder", "decoder")},
}
LLAMA = {
    "architecture": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}
SEQ2SEQ = {"backbone": {"kind": "seq2seq", "scratch": M2M}}
CAUSAL = {"backbone": {"kind": "causal", "scratch": LLAMA}}
STAGCN = {"kind": "stagcn", "features": [4], "attention": [4], "perception": [4], "head": 4}
MODELS: dict[str, dict[str, Any]] = {
    "seq2seq": SEQ2SEQ,
    "causal": CAUSAL,
    "linear, averaged": {**SEQ2SEQ, "encoder": {"kind": "linear", "downsample": 2}},
    "mlp": {**SEQ2SEQ, "encoder": {"kind": "mlp", "hidden": [8]}},
    "cnn": {**SEQ2SEQ, "encoder": {"kind": "cnn", "channels": 8}},
    "stgcn": {**SEQ2SEQ, "encoder": {"kind": "stgcn", "channels": 4, "blocks": 2}},
    "stagcn": {**SEQ2SEQ, "encoder": STAGCN},
    "channel": {**SEQ2SEQ, "fusion": {"kind": "channel"}},
    "separators, streams dropped": {
        **SEQ2SEQ,
        "fusion": {"kind": "time", "separators": True, "stream_dropout": 0.4},
    },
    "truncated": {**CAUSAL, "reserved_text_tokens": 52},
}
WIDTHS = {"pose": 6, "dino": 6}


def build(model: dict[str, Any]) -> Translator:
    seed_everything(1)
    vocabulary = Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
    skeletons = {name: made([ROOT, 0, 1]) for name in WIDTHS}
    config = ModelConfig.model_validate(model)
    return build_translator(config, WIDTHS, vocabulary, skeletons=skeletons)


def make_batch(references: int = 1, lacking: bool = False) -> Batch:
    return collate(make_items(references, lacking), pad_id=0)


def make_items(references: int, lacking: bool) -> list[BatchItem]:
    """Three clips of different lengths; one may lack a stream."""
    rng = np.random.default_rng(0)

    def clip(num_frames: int) -> NDArray[Any]:
        return rng.standard_normal((num_frames, 6)).astype(np.float32)

    return [
        BatchItem(
            f"c{index}",
            {"pose": clip(4 + index), "dino": clip(0 if lacking and index == 1 else 3)},
            ClipTokens(
                prompt=(5,) * index,
                forced=(),
                labels=(6, 7, 2)[-1 - index :],
                alternative_labels=((8, 2),) * (index % references),
            ),
        )
        for index in range(3)
    ]


def step(model: Translator, batch: Batch) -> None:
    """A training step, with the clipping and the optimizer of a run."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    labels = (batch.labels_BL != -100).sum()
    loss = model(**batch.get_forward_kwargs(), num_items_in_batch=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


@pytest.mark.parametrize("lacking", [False, True], ids=["all streams", "one lacks a stream"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_reads_nothing_back(name: str, lacking: bool) -> None:
    model = build(MODELS[name]).train()
    batch = make_batch(lacking=lacking)
    with record_syncs() as found:
        step(model, batch)
    assert found == []


@pytest.mark.parametrize("name", ["seq2seq", "causal"])
def test_a_step_over_several_references_reads_nothing_back(name: str) -> None:
    model = build(MODELS[name]).train()
    batch = make_batch(references=2)
    assert batch.labels_BRL is not None
    with record_syncs() as found:
        step(model, batch)
    assert found == []


@pytest.mark.parametrize("rows", [slice(3), slice(2, 3)], ids=["padded", "one clip"])
@pytest.mark.parametrize("name", MODELS)
def test_lengths_of_the_host_change_no_bit(name: str, rows: slice) -> None:
    """Masks are the same whether the host knows the padding or reads it."""
    model = build(MODELS[name]).eval()
    items = make_items(references=2, lacking=False)[rows]
    batch = collate(items, pad_id=0)
    arguments = batch.get_forward_kwargs()
    with torch.no_grad():
        known, read = model(**arguments), model(**arguments | {"layout": None})
        assert torch.equal(known.logits, read.logits) and torch.equal(known.loss, read.loss)
        sums = [model.compute_token_sums(each) for each in (batch, replace(batch, layout=None))]
    assert sums[0] == sums[1]


def test_a_layout_holds_what_the_masks_say() -> None:
    batch = make_batch(references=2, lacking=True)
    assert batch.layout == BatchLayout.from_masks(
        batch.frame_masks, batch.prompt_mask_BP, batch.suffix_mask_BA, batch.labels_BRL
    )
    assert batch.to("cpu").layout is batch.layout
    parts = split_batch(batch.get_forward_kwargs(), 2)
    for part in parts:
        assert part["layout"] == BatchLayout.from_masks(
            part["frame_masks"], part["prompt_mask"], part["suffix_mask"], part["all_labels"]
        )
    assert [len(part["layout"].prompt) for part in parts] == [1, 2]


@pytest.mark.parametrize("name", ["seq2seq", "causal", "cnn"])
def test_a_compiler_sees_one_graph(name: str) -> None:
    arguments = make_batch().get_forward_kwargs()
    torch._dynamo.reset()
    found = torch._dynamo.explain(build(MODELS[name]).eval().forward)(**arguments)
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


def test_what_reads_back_is_seen() -> None:
    """Without the lengths of the host, a batch is read from its masks."""
    model = build(SEQ2SEQ)
    arguments = make_batch().get_forward_kwargs() | {"layout": None}
    with record_syncs() as found:
        model(**arguments)
    assert {line.partition(" at ")[2].partition(":")[0] for line in found} >= {"batch.py"}
