"""A run repeats to the bit, resumes to the bit, and counts its steps right."""

import json
from pathlib import Path

import pytest
import torch

from corpus import tiny_recipe
from kinesweep.core.errors import CheckpointError, ResourceError
from kinesweep.core.recipe import Recipe
from kinesweep.core.runlog import NullRunLog
from kinesweep.models.encoders import ENCODERS
from kinesweep.store import Store
from kinesweep.training.metrics import read_metrics
from kinesweep.training.run import RunSpec, train_run


def go_on(_: dict[str, float]) -> bool:
    return True


def train(recipe: Recipe, store: Store, folder: Path, report=go_on, **options):  # type: ignore[no-untyped-def]
    return train_run(RunSpec(recipe, store.folder, folder, **options), NullRunLog(), report)


def test_the_same_seed_gives_the_same_bits(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    first = train(recipe, store, tmp_path / "a")
    second = train(recipe, store, tmp_path / "b")
    assert first.weights_sha256 == second.weights_sha256 != ""
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (
        tmp_path / "b/metrics.jsonl"
    ).read_bytes()
    other = train(recipe.with_seed(6), store, tmp_path / "c")
    assert other.weights_sha256 != first.weights_sha256


@pytest.mark.parametrize("kind", sorted(set(ENCODERS) - {"linear"}))
def test_every_encoder_trains_and_repeats(
    corpus: Path, store: Store, tmp_path: Path, kind: str
) -> None:
    encoder = {"kind": kind, "velocity": True}
    recipe = tiny_recipe(corpus, store.folder.parent, model={"encoder": encoder})
    first = train(recipe, store, tmp_path / "a")
    assert train(recipe, store, tmp_path / "b").weights_sha256 == first.weights_sha256 != ""
    losses = [r["token_loss"] for r in read_metrics(tmp_path / "a/metrics.jsonl") if "bleu" in r]
    assert losses[-1] < losses[0]


def test_a_stopped_run_goes_on_as_if_never_stopped(
    recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    whole = train(recipe, store, tmp_path / "whole")
    seen: list[float] = []

    def stop_at_8(metrics: dict[str, float]) -> bool:
        seen.append(metrics["step"])
        return metrics["step"] < 8

    stopped = train(recipe, store, tmp_path / "parts", stop_at_8)
    assert (stopped.status, stopped.step, seen) == ("stopped", 8, [4, 8])
    ended = train(recipe, store, tmp_path / "parts")
    assert (ended.status, ended.step, ended.samples) == ("finished", 12, whole.samples)
    assert ended.weights_sha256 == whole.weights_sha256
    assert ended.scores == whole.scores
    steps = [row["step"] for row in read_metrics(tmp_path / "parts/metrics.jsonl") if "bleu" in row]
    assert steps == [4, 8, 12]


def test_a_finished_run_is_handed_back(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    first = train(recipe, store, tmp_path / "a")

    def never(_: dict[str, float]) -> bool:
        raise AssertionError("trained again")

    assert train(recipe, store, tmp_path / "a", never) == first
    assert not (tmp_path / "a/checkpoints").exists()


def test_another_run_is_not_overwritten(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    train(recipe, store, tmp_path / "a")
    with pytest.raises(CheckpointError, match="seed 5 there, 7 here"):
        train(recipe.with_seed(7), store, tmp_path / "a")
    again = train(recipe.with_seed(7), store, tmp_path / "a", overwrite=True)
    assert again.status == "finished"


@pytest.mark.parametrize("damage", ["truncate", "flip", "no manifest"])
def test_a_damaged_checkpoint_is_passed_over(
    recipe: Recipe, store: Store, tmp_path: Path, damage: str
) -> None:
    whole = train(recipe, store, tmp_path / "whole")
    folder = tmp_path / "parts"
    train(recipe, store, folder, lambda m: m["step"] < 8)
    newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
    weights = newest / "model.safetensors"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "flip":
        raw = bytearray(weights.read_bytes())
        raw[-5] ^= 1
        weights.write_bytes(bytes(raw))
    else:
        (newest / "manifest.json").unlink()
    ended = train(recipe, store, folder)
    assert ended.weights_sha256 == whole.weights_sha256
    assert ended.step == 12


def test_early_stopping_and_the_best_checkpoint(corpus: Path, store: Store, tmp_path: Path) -> None:
    changes = {
        "learning_rate": 1e-9,
        "max_steps": 40,
        "early_stopping_patience": 2,
        "early_stopping_threshold": 0.5,
        "metric_for_best_model": "token_loss",
    }
    recipe = tiny_recipe(corpus, corpus.parent / "stores", training=changes)
    result = train(recipe, store, tmp_path / "a")
    assert (result.reason, result.step) == ("patience", 12)
    assert result.best_step in (4, 8, 12)


def test_accumulation_is_the_large_batch(corpus: Path, tmp_path: Path) -> None:
    """Four batches of eight, accumulated, move the weights as one batch of 32 does."""
    from corpus import tiny_store

    rows = (corpus / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    exact = tmp_path / "train.tsv"
    exact.write_text("".join(rows[:33]), encoding="utf-8")

    def weights(clips: int, accumulation: int) -> dict[str, torch.Tensor]:
        recipe = tiny_recipe(
            corpus,
            corpus.parent / "stores",
            batch={"clips": clips},
            training={
                "gradient_accumulation_steps": accumulation,
                "max_steps": 3,
                "eval_steps": 3,
                "max_grad_norm": 1.0,
                "learning_rate": 1e-4,
            },
        )
        plain = recipe.model_dump(mode="json")
        plain["model"]["encoder"]["dropout"] = 0.0
        plain["model"]["backbone"]["scratch"]["dropout"] = 0.0
        plain["model"]["backbone"]["scratch"]["attention_dropout"] = 0.0
        plain["source"]["train"] = str(exact)
        plain["source"]["root"] = str(corpus)
        recipe = Recipe.model_validate(plain)
        store = tiny_store(recipe)
        assert len(store.records("train")) == 32
        folder = tmp_path / f"{clips}x{accumulation}"
        train(recipe, store, folder)
        from safetensors.torch import load_file

        return load_file(folder / "best/model.safetensors")

    clips = 32
    one, four = weights(clips, 1), weights(clips // 4, 4)
    assert one.keys() == four.keys()
    gap = max(float((one[name] - four[name]).abs().max()) for name in one)
    assert gap < 1e-6


def test_too_little_disk_is_said_first(corpus: Path, store: Store, tmp_path: Path) -> None:
    recipe = tiny_recipe(corpus, corpus.parent / "stores", checkpoints={"max_disk": "10 KB"})
    with pytest.raises(ResourceError, match="max_disk"):
        train(recipe, store, tmp_path / "a")
    assert json.loads((tmp_path / "a/run.json").read_text())["seed"] == 5
