"""A clip that cannot fit into the memory is refused before training, with its figures.

The estimate is a lower bound: it stays below what PyTorch keeps for the backward pass.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from corpus import tiny_recipe
from kinesweep.core.errors import ResourceError
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.core.system import memory as memory_module
from kinesweep.core.system.memory import get_available_memory_bytes, get_memory_limit_bytes
from kinesweep.models.translator import Translator
from kinesweep.store import Store
from kinesweep.training.loop import resource_checks
from kinesweep.training.loop.components import RunComponents, build_components, build_train_dataset
from kinesweep.training.loop.memory_estimate import estimate_batch_memory
from kinesweep.training.loop.resource_checks import check_batches_fit_memory

pytestmark = pytest.mark.integration

LONG = 53_210
"""Frames of an OpenPose export whose numbering began at 53,210."""


def build(corpus: Path, store: Store, **changes: Any) -> tuple[Any, RunComponents]:
    recipe = tiny_recipe(corpus, store.folder.parent, **changes)
    return recipe, build_components(recipe, store)


def lengthen(store: Store, monkeypatch: pytest.MonkeyPatch, split: str, frames: int) -> str:
    """Claims that the first clip of a split has many frames. Returns its id."""
    first, *others = store.get_records(split)
    longest = replace(first, lengths={"pose": frames})
    get_records = type(store).get_records
    monkeypatch.setattr(
        type(store),
        "get_records",
        lambda self, name: [longest, *others] if name == split else get_records(self, name),
    )
    return first.clip.id


def check(recipe: Any, components: RunComponents) -> None:
    dataset = build_train_dataset(
        components, recipe.effective_batch, 5, {}, recipe.prompt_settings, {}
    )
    check_batches_fit_memory(
        components.model,
        components.store,
        dataset,
        recipe.training,
        recipe.effective_batch,
        recipe.evaluation.max_frames,
    )


def limit(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    monkeypatch.setattr(resource_checks, "get_memory_limit_bytes", lambda: round(gigabytes * 1e9))


def test_a_clip_that_is_too_long_is_named_with_its_figures(
    corpus: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, components = build(corpus, store, batch={"batch_size": 40})
    check(recipe, components)
    clip_id = lengthen(store, monkeypatch, "train", LONG)
    limit(monkeypatch, 22)
    with pytest.raises(ResourceError) as raised:
        check(recipe, components)
    said = str(raised.value)
    for part in (
        f"clip `{clip_id}` (train.tsv:2) of train",
        "its batch of 37 clips (53,210 frames × 534 values each)",
        "attention scores over 53,210 vectors",
        "this machine has 22.0 GB",
        "`batch.max_clip_frames`",
        "`batch.truncate_frames`",
        "`batch.batch_size`",
    ):
        assert part in said, said


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": {"batch_size": 2, "max_clip_frames": 2000}},
        {"batch": {"batch_size": 2, "truncate_frames": {"pose": 700}}},
        {"model": {"encoder": {"kind": "linear", "downsample": 64}}},
        {
            "batch": {"batch_size": 1},
            "model": {"encoder": {"kind": "cnn"}},
            "training": {"activation_checkpointing": True},
        },
    ],
)
def test_what_the_message_proposes_helps(
    corpus: Path, store: Store, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    as_it_was, changed = build(corpus, store), build(corpus, store, **changes)
    lengthen(store, monkeypatch, "train", LONG)
    limit(monkeypatch, 8)
    with pytest.raises(ResourceError):
        check(*as_it_was)
    check(*changed)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_clip_that_cannot_be_decoded_is_refused_before_training(
    corpus: Path, store: Store, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    recipe, components = build(corpus, store)
    lengthen(store, monkeypatch, split, LONG)
    limit(monkeypatch, 0.05)
    with pytest.raises(ResourceError, match=f"of {split} cannot fit") as raised:
        check(recipe, components)
    # Limits never drop clips of the test split.
    assert ("max_clip_frames" in str(raised.value)) == (split == "validation")


def count_kept_bytes(model: Translator, num_clips: int, num_frames: int) -> int:
    """The bytes that PyTorch keeps for the backward pass, without the weights."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    width = model.config.get_stream_widths()["pose"]
    x_BTD = torch.randn(num_clips, num_frames, width)
    mask_BT = torch.ones(num_clips, num_frames, dtype=torch.bool)
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        labels = torch.ones(num_clips, 3, dtype=torch.int64)
        output = model(streams={"pose": x_BTD}, frame_masks={"pose": mask_BT}, labels=labels)
        kept_bytes = sum(kept.values())
    del output
    return kept_bytes


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(("num_clips", "num_frames"), [(1, 900), (3, 200), (16, 20)])
def test_the_estimate_is_a_lower_bound(
    corpus: Path, store: Store, num_clips: int, num_frames: int, dropout: float
) -> None:
    scratch = {"attention_dropout": dropout, "encoder_layers": 2}
    changes = tiny_recipe(corpus, corpus).model.backbone.scratch
    model = {"backbone": {"kind": "seq2seq", "scratch": {**changes, **scratch}}}
    _, components = build(corpus, store, model=model)
    estimate = estimate_batch_memory(
        components.model, num_clips, {"pose": num_frames}, components.store.schema, is_training=True
    )
    measured = count_kept_bytes(components.model, num_clips, num_frames)
    assert estimate.total <= measured
    assert (estimate.attention > 0) == (dropout > 0)
    # It is no useless bound either, where attention makes a clip too large.
    assert num_frames < 900 or estimate.total > 0.3 * measured


def test_local_attention_has_no_scores_over_all_pairs(
    corpus: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(corpus, store)[1].model
    estimate = partial(
        estimate_batch_memory, model, 2, {"pose": 500}, store.schema, is_training=True
    )
    assert estimate().attention > 0
    monkeypatch.setattr(model.backbone.config, "attention_window", [64, 64], raising=False)
    assert estimate().attention == 0


def test_pixels_count_one_byte_a_value(corpus: Path, store: Store) -> None:
    model = build(corpus, store)[1].model
    streams = {
        "pose": StreamSchema(600, 25.0, "float16"),
        "video": StreamSchema(768, 25.0, "uint8", frame_size=16),
    }
    lengths = {"pose": 50, "video": 70}
    estimate = estimate_batch_memory(model, 3, lengths, StoreSchema(streams), is_training=True)
    assert estimate.features == 3 * (50 * 600 * 4 + 70 * 768)


def test_the_memory_of_a_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 and 2, the limits of groups above, and none."""
    memberships = tmp_path / "cgroup"
    read_text = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda self, **options: read_text(
            memberships if self == Path("/proc/self/cgroup") else self, **options
        ),
    )
    machine = memory_module.psutil.virtual_memory().total
    memberships.write_text("0::/a/b\n")
    assert get_memory_limit_bytes(tmp_path / "none") == machine
    (tmp_path / "v2/a/b").mkdir(parents=True)
    (tmp_path / "v2/a/b/memory.max").write_text("max\n")
    assert get_memory_limit_bytes(tmp_path / "v2") == machine
    (tmp_path / "v2/a/memory.max").write_text("1000000\n")
    assert get_memory_limit_bytes(tmp_path / "v2") == 1_000_000
    (tmp_path / "v2/a/memory.current").write_text("700000\n")
    (tmp_path / "v2/a/memory.stat").write_text("anon 100\ninactive_file 200000\n")
    assert get_available_memory_bytes(tmp_path / "v2") == 500_000
    memberships.write_text("3:cpu,cpuacct:/x\n4:memory:/job\n0::/\n")
    (tmp_path / "v1/memory/job").mkdir(parents=True)
    (tmp_path / "v1/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (tmp_path / "v1/memory/job/memory.limit_in_bytes").write_text("2000000\n")
    assert get_memory_limit_bytes(tmp_path / "v1") == 2_000_000
    (tmp_path / "v1/memory/job/memory.usage_in_bytes").write_text("1500000\n")
    (tmp_path / "v1/memory/job/memory.stat").write_text("inactive_file 5\ntotal_inactive_file 6\n")
    assert get_available_memory_bytes(tmp_path / "v1") == 500_006
    (tmp_path / "v1/memory/job/memory.usage_in_bytes").write_text("2500000\n")
    assert get_available_memory_bytes(tmp_path / "v1") == 0
