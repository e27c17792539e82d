"""Runs over a saved language model: small checkpoints that resume, average and export as others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from checkpoint_bytes import compare_with_hugging_face
from corpus import tiny_recipe
from kinesweep.checkpoints.disk_space import estimate_checkpoint_bytes
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError, ConfigError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.models.base_model import BASE_MODELS_ENV
from kinesweep.store import Store
from kinesweep.training.loop import resource_checks
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult
from kinesweep.training.run_records.run_identity import METRICS_FILE
from ranks import run_ranks

pytestmark = pytest.mark.integration

SHARDED = """
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
asked, store, folder, last = sys.argv[1:]
spec = RunSpec(Recipe.model_validate_json(Path(asked).read_text()), Path(store), Path(folder))
result = train_run(spec, NullRunLogger(), lambda metrics: metrics["step"] < int(last))
print(json.dumps(result.to_json()))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machine") / "tiny-llama"
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def recipe_of(corpus: Path, store: Store, base: Path, **sections: Any) -> Recipe:
    backbone = {"kind": "causal", "pretrained": str(base), "lora": {"rank": 4}}
    return tiny_recipe(corpus, store.folder.parent, model={"backbone": backbone}, **sections)


def train(recipe: Recipe, store: Store, folder: Path, last: int = 999) -> RunResult:
    spec = RunSpec(recipe, store.folder, folder)
    return train_run(spec, NullRunLogger(), lambda metrics: metrics["step"] < last)


def test_checkpoints_have_the_bytes_of_hugging_face(
    corpus: Path, store: Store, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(corpus, store, base, training={"max_steps": 4, "eval_steps": 2})
    compare_with_hugging_face(monkeypatch, recipe, store, tmp_path)


def test_it_stops_resumes_and_moves(
    corpus: Path, store: Store, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(corpus, store, base, training={"average_checkpoints": 2})
    asked: list[int] = []
    monkeypatch.setattr(
        resource_checks,
        "estimate_checkpoint_bytes",
        lambda *sizes: asked.append(estimate_checkpoint_bytes(*sizes)) or asked[-1],
    )
    whole = train(recipe, store, tmp_path / "whole")
    stopped = train(recipe, store, tmp_path / "parts", last=8)
    assert (stopped.status, stopped.step) == ("stopped", 8)
    held = tmp_path / "parts/checkpoints/step-00000008"
    weights = load_file(held / "model.safetensors")
    assert not any(name.startswith("backbone.") and ".lora_" not in name for name in weights)
    size = sum(path.stat().st_size for path in held.iterdir())
    assert size < asked[0] < size + 200_000, "the estimate covers it, and little more"
    ended = train(recipe, store, tmp_path / "parts")
    assert ended.weights_sha256 == whole.weights_sha256 != ""
    assert ended.scores == whole.scores
    best = tmp_path / "parts/best"
    base.rename(base.with_name("moved"))
    try:
        with pytest.raises(CheckpointError, match=BASE_MODELS_ENV):
            read_model_folder(best)
        (tmp_path / "bases").mkdir()
        (tmp_path / "bases" / base.name).symlink_to(base.with_name("moved"))
        monkeypatch.setenv(BASE_MODELS_ENV, str(tmp_path / "bases"))
        assert isinstance(read_model_folder(best).model.config.base, dict)
    finally:
        base.with_name("moved").rename(base)


@pytest.mark.slow
def test_shards_over_a_base(corpus: Path, store: Store, base: Path, tmp_path: Path) -> None:
    changes = {"training": {"fsdp": True, "learning_rate": 5e-3}, "resources": {"workers": 2}}
    asked = tmp_path / "recipe.json"
    asked.write_text(recipe_of(corpus, store, base, **changes).model_dump_json())

    def ranks(name: str, last: int) -> dict[str, Any]:
        given = [str(asked), str(store.folder), str(tmp_path / name), str(last)]
        return run_ranks(SHARDED, given, 2)[0]

    whole, stopped = ranks("whole", 999), ranks("parts", 8)
    assert (whole["step"], stopped["step"]) == (12, 8)
    assert ranks("parts", 999)["weights_sha256"] == whole["weights_sha256"] != ""
    assert all(
        not name.startswith("backbone.") or ".lora_" in name
        for name in load_file(tmp_path / "whole/best/model.safetensors")
    )


@pytest.mark.slow
def test_shards_learn_what_one_rank_learns(
    corpus: Path, store: Store, base: Path, tmp_path: Path
) -> None:
    """Two ranks with a batch each a step, and one with two; projectors and adapters, no noise."""
    model = {
        "encoder": {"kind": "mlp", "hidden": [24], "dropout": 0.0},
        "backbone": {
            "kind": "causal",
            "pretrained": str(base),
            "lora": {"rank": 4, "dropout": 0.0},
        },
    }
    tuned = {"learning_rate": 5e-3, "logging_steps": 1}
    plain: dict[str, Any] = {"training": {**tuned, "gradient_accumulation_steps": 2}}
    cut: dict[str, Any] = {"training": {**tuned, "fsdp": True}, "resources": {"workers": 2}}
    one = tiny_recipe(corpus, store.folder.parent, model=model, **plain)
    two = tiny_recipe(corpus, store.folder.parent, model=model, **cut)
    alone = train(one, store, tmp_path / "one")
    asked = tmp_path / "recipe.json"
    asked.write_text(two.model_dump_json())
    given = [str(asked), str(store.folder), str(tmp_path / "two"), "999"]
    ranks = run_ranks(SHARDED, given, 2)
    assert ranks[0]["scores"] == ranks[1]["scores"] == pytest.approx(alone.scores, rel=1e-3)
    losses = [
        [row["loss"] for row in read_metrics(tmp_path / name / METRICS_FILE) if "loss" in row]
        for name in ("one", "two")
    ]
    assert len(losses[0]) == 12 and losses[0][-1] < losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    whole, shards = (load_file(tmp_path / n / "best/model.safetensors") for n in ("one", "two"))
    assert whole.keys() == shards.keys()
    assert not any(name.startswith("backbone.") and ".lora_" not in name for name in shards)
    for name, tensor in whole.items():
        torch.testing.assert_close(shards[name], tensor, rtol=1e-3, atol=1e-4)
    loaded = read_model_folder(tmp_path / "two" / "best").model
    held = {name: p for name, p in loaded.state_dict().items() if name in shards}
    assert held.keys() == shards.keys()
    assert all(torch.equal(held[name], shards[name]) for name in shards)


def test_four_bits_cannot_be_cut(corpus: Path, store: Store, base: Path) -> None:
    with pytest.raises(ConfigError, match="cannot shard quantized weights"):
        tiny_recipe(
            corpus,
            store.folder.parent,
            model={
                "backbone": {
                    "kind": "causal",
                    "pretrained": str(base),
                    "lora": {"quantize": "nf4"},
                }
            },
            training={"fsdp": True},
            resources={"workers": 2},
        )
