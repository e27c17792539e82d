"""Batches computed in parts: the same gradient, found on the machine, kept for resumption."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus import tiny_recipe
from kinesweep.core.errors import ConfigError, ResourceError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.models.translator import Translator
from kinesweep.store import Store
from kinesweep.training.loop import batch_parts, resource_checks
from kinesweep.training.loop.batch_parts import try_batches
from kinesweep.training.loop.batch_split import split_batch
from kinesweep.training.loop.components import build_components, build_train_dataset
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult

STILL: dict[str, Any] = {
    "encoder": {"kind": "linear", "dropout": 0.0},
    "backbone": {
        "kind": "seq2seq",
        "scratch": {
            "architecture": "bart",
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "dropout": 0.0,
        },
    },
}


def train(corpus: Path, store: Store, folder: Path, last: int = 99, **training: Any) -> RunResult:
    recipe = tiny_recipe(corpus, store.folder.parent, model=STILL, training=training)
    spec = RunSpec(recipe, store.folder, folder)
    return train_run(spec, NullRunLogger(), lambda metrics: metrics["step"] < last)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(Translator.from_pretrained(folder / "best").state_dict())


def limit_memory(monkeypatch: pytest.MonkeyPatch, num_parts: int) -> None:
    """Makes the lower bound of the memory ask for a number of parts."""
    monkeypatch.setattr(batch_parts, "count_needed_parts", lambda *_: num_parts)


def test_parts_cover_the_batch(corpus: Path, store: Store) -> None:
    recipe = tiny_recipe(corpus, store.folder.parent)
    components = build_components(recipe, store)
    dataset = build_train_dataset(
        components, recipe.effective_batch, 5, {}, recipe.prompt_settings, {}
    )
    batch = dataset[0].get_forward_kwargs()
    for num_parts in (1, 3, 8, 64):
        parts = split_batch(batch, num_parts)
        assert len(parts) == min(num_parts, 8)
        assert [i for part in parts for i in part["clip_ids"]] == list(batch["clip_ids"])
        assert torch.equal(torch.cat([part["labels"] for part in parts]), batch["labels"])
        for name, x in batch["streams"].items():
            assert torch.equal(torch.cat([part["streams"][name] for part in parts]), x)
    longest, fullest = dataset.find_largest_batches()
    loaded = dataset.load_largest_batches()
    assert [b.clip_ids for b in loaded] == [tuple(r.clip.id for r in b) for b in (longest, fullest)]


def test_three_parts_train_as_the_whole(
    corpus: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout, parts of unequal size and two accumulated batches give the same weights."""
    accumulated: dict[str, Any] = {
        "gradient_accumulation_steps": 2,
        "max_steps": 6,
        "eval_steps": 3,
    }
    whole = train(corpus, store, tmp_path / "whole", **accumulated)
    limit_memory(monkeypatch, 3)
    parts = train(corpus, store, tmp_path / "parts", auto_find_batch_size=True, **accumulated)
    assert (parts.samples, parts.status) == (whole.samples, "finished")
    rows = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts")]
    losses = [[row["loss"] for row in own if "loss" in row] for own in rows]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    before, after = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    assert whole.weights_sha256 != parts.weights_sha256  # sums of other parts round differently
    assert all(torch.allclose(before[n], after[n], atol=2e-5) for n in before)


def test_a_resumed_run_keeps_its_parts(
    corpus: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_memory(monkeypatch, 4)
    whole = train(corpus, store, tmp_path / "whole", auto_find_batch_size=True)
    train(corpus, store, tmp_path / "stopped", last=4, auto_find_batch_size=True)
    limit_memory(monkeypatch, 1)  # a machine with more memory
    resumed = train(corpus, store, tmp_path / "stopped", auto_find_batch_size=True)
    kept = json.loads((tmp_path / "stopped" / "batch_parts.json").read_text())
    assert kept == {"num_parts": 4}
    assert resumed.weights_sha256 == whole.weights_sha256


def test_a_lower_bound_beyond_the_memory_asks_for_parts(
    corpus: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(corpus, store.folder.parent, model=STILL)
    components = build_components(recipe, store)
    dataset = build_train_dataset(
        components, recipe.effective_batch, 5, {}, recipe.prompt_settings, {}
    )
    arguments = (components.model, store, dataset, recipe.training, recipe.effective_batch)
    assert resource_checks.count_needed_parts(*arguments) == 1
    full = max(
        resource_checks._estimate_training_memory(
            components.model, store, records, recipe.training, recipe.effective_batch, num_parts=1
        ).total
        for records in dataset.find_largest_batches()
    )
    monkeypatch.setattr(resource_checks, "_get_device_memory_bytes", lambda _: full // 2)
    assert resource_checks.count_needed_parts(*arguments) in (2, 4)
    with pytest.raises(ResourceError, match="cannot fit into the memory"):
        train(corpus, store, tmp_path / "refused", max_steps=1, eval_steps=1)
    monkeypatch.setattr(
        resource_checks, "_get_device_memory_bytes", lambda _: max(full // 2, 1 << 20)
    )
    training = {"auto_find_batch_size": True, "max_steps": 1, "eval_steps": 1}
    assert train(corpus, store, tmp_path / "split", **training).status == "finished"


def test_trying_out_stops_at_what_fits_and_leaves_no_trace(corpus: Path, store: Store) -> None:
    """A device that holds two clips at a time; a batch norm that counts what it sees."""
    recipe = tiny_recipe(corpus, store.folder.parent)
    components = build_components(recipe, store)
    model = components.model
    dataset = build_train_dataset(
        components, recipe.effective_batch, 5, {}, recipe.prompt_settings, {}
    )
    batches = [batch.get_forward_kwargs() for batch in dataset.load_largest_batches()]
    model.register_buffer("count", torch.zeros(()))
    sizes: list[int] = []

    def refuse(_: Any, __: Any, kwargs: dict[str, Any]) -> None:
        sizes.append(len(kwargs["labels"]))
        model.count += 1
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("out of memory")

    handle = model.register_forward_pre_hook(refuse, with_kwargs=True)
    state = torch.get_rng_state()
    assert try_batches(model, batches, 1, "fp32") == 4
    assert sizes[0] > 2 and max(sizes[-4:]) == 2 and model.count == 0
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
    handle.remove()

    def refuse_all(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    model.register_forward_pre_hook(refuse_all)
    with pytest.raises(ResourceError, match="a single clip does not fit"):
        try_batches(model, batches, 1, "bf16")


def test_sharded_workers_cannot_split(corpus: Path, store: Store) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        tiny_recipe(
            corpus,
            store.folder.parent,
            training={"fsdp": True, "auto_find_batch_size": True},
            resources={"workers": 2},
        )


def test_a_contrastive_stage_cannot_split(corpus: Path, store: Store) -> None:
    training = {"stage": "align", "metric_for_best_model": "contrastive_loss"}
    with pytest.raises(ConfigError, match="compares the clips of a whole batch"):
        tiny_recipe(
            corpus, store.folder.parent, training={**training, "auto_find_batch_size": True}
        )
