"""A run repeats to the bit, resumes to the bit, and counts its steps right."""

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError, ConfigError, ResourceError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.models import Translator
from kinesweep.models.encoders import ENCODERS
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run, write_initial_model
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult
from tolerances import EPS32, assert_same_weights

pytestmark = pytest.mark.integration


def go_on(_: dict[str, float]) -> bool:
    return True


def train(recipe: Recipe, store: Store, folder: Path, report=go_on, **options):  # type: ignore[no-untyped-def]
    return train_run(RunSpec(recipe, store.folder, folder, **options), NullRunLogger(), report)


def test_the_same_seed_gives_the_same_bits(
    recipe: Recipe, store: Store, tmp_path: Path, whole: RunResult
) -> None:
    again = train(recipe, store, tmp_path / "again")
    assert again.weights_sha256 == whole.weights_sha256 != ""
    rows = [folder / "metrics.jsonl" for folder in (whole.folder, again.folder)]
    assert rows[0].read_bytes() == rows[1].read_bytes()
    other = train(recipe.with_seed(6), store, tmp_path / "other")
    assert other.weights_sha256 != whole.weights_sha256


# Graph encoders: `test_graph_runs`; encoders of token ids: `test_written_inputs_learn`.
@pytest.mark.parametrize(
    "kind", sorted(set(ENCODERS) - {"linear", "stgcn", "stagcn", "part_graph", "tokens"})
)
def test_every_encoder_trains_and_repeats(
    corpus: Path, store: Store, tmp_path: Path, kind: str
) -> None:
    encoder, few = {"kind": kind, "velocity": True}, {"max_steps": 6, "eval_steps": 3}
    recipe = tiny_recipe(corpus, store.folder.parent, model={"encoder": encoder}, training=few)
    first = train(recipe, store, tmp_path / "a")
    assert train(recipe, store, tmp_path / "b").weights_sha256 == first.weights_sha256 != ""
    losses = [r["token_loss"] for r in read_metrics(tmp_path / "a/metrics.jsonl") if "bleu" in r]
    assert losses[-1] < losses[0]


def test_a_stream_with_its_own_encoder_is_standardised(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    encoders = {"encoder": {"standardize": False}, "encoders": {"pose": {"standardize": True}}}
    recipe = tiny_recipe(corpus, store.folder.parent, model=encoders)
    write_initial_model(recipe, store, tmp_path / "first")
    encoder = Translator.from_pretrained(tmp_path / "first").encoders["pose"]
    assert encoder.mean.abs().max() > 0


def test_what_limits_take_is_in_the_result(corpus: Path, store: Store, tmp_path: Path) -> None:
    lengths = sorted(clip.lengths["pose"] for clip in store.get_records("train"))
    longest, cap = lengths[-2], lengths[0]
    batch = {"max_clip_frames": longest, "truncate_frames": {"pose": cap}}
    recipe = tiny_recipe(corpus, store.folder.parent, batch=batch, training={"max_steps": 2})
    left = [frames for frames in lengths if frames <= longest]
    assert train(recipe, store, tmp_path / "run").limited == {
        **({"too_long": len(lengths) - len(left)} if len(left) < len(lengths) else {}),
        "cut_clips.pose": sum(frames > cap for frames in left),
        "cut_frames.pose": sum(left) - cap * len(left),
    }


def test_a_stopped_run_goes_on_as_if_never_stopped(
    recipe: Recipe, store: Store, tmp_path: Path, whole: RunResult
) -> None:
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


def test_another_run_is_not_overwritten(
    recipe: Recipe, store: Store, tmp_path: Path, whole: RunResult
) -> None:
    shutil.copytree(whole.folder, tmp_path / "a")
    with pytest.raises(CheckpointError, match="seed 5 there, 7 here"):
        train(recipe.with_seed(7), store, tmp_path / "a")
    again = train(recipe.with_seed(7), store, tmp_path / "a", overwrite=True)
    assert again.status == "finished"


@pytest.mark.parametrize("damage", ["truncate", "flip", "no manifest"])
def test_a_damaged_checkpoint_is_passed_over(
    recipe: Recipe, store: Store, tmp_path: Path, damage: str, whole: RunResult
) -> None:
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


def remember(folder: Path, seen: dict[int, dict[str, torch.Tensor]]):  # type: ignore[no-untyped-def]
    """A report that notes the weights of each checkpoint that lies there."""

    def report(metrics: dict[str, float]) -> bool:
        for path in (folder / "checkpoints").glob("step-*/model.safetensors"):
            step = int(path.parent.name.removeprefix("step-"))
            seen[step] = safetensors.torch.load_file(path)
        return True

    return report


def test_the_result_is_the_best_checkpoint_not_the_last(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    """A learning rate that is far too high makes every evaluation worse than the first."""
    bad = {"learning_rate": 0.3, "max_steps": 16, "metric_for_best_model": "token_loss"}
    recipe = tiny_recipe(corpus, store.folder.parent, training=bad, checkpoints={"keep": "all"})
    seen: dict[int, dict[str, torch.Tensor]] = {}
    result = train(recipe, store, tmp_path / "a", remember(tmp_path / "a", seen))
    assert result.best_step is not None and result.best_step < result.step == 16
    assert result.best_step in seen and len(seen) >= 2
    kept = safetensors.torch.load_file(tmp_path / "a/best/model.safetensors")
    for step, weights in seen.items():
        same = all(torch.equal(weights[name], kept[name]) for name in kept)
        assert same == (step == result.best_step)


@pytest.mark.usefixtures("float64")
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
            batch={"batch_size": clips},
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
        assert len(store.get_records("train")) == 32
        folder = tmp_path / f"{clips}x{accumulation}"
        train(recipe, store, folder)
        from safetensors.torch import load_file

        return load_file(folder / "best/model.safetensors")

    clips = 32
    one, four = weights(clips, 1), weights(clips // 4, 4)
    assert_same_weights(four, one)


def test_too_little_disk_is_said_first(corpus: Path, store: Store, tmp_path: Path) -> None:
    recipe = tiny_recipe(corpus, corpus.parent / "stores", checkpoints={"max_disk": "10 KB"})
    with pytest.raises(ResourceError, match="max_disk"):
        train(recipe, store, tmp_path / "a")
    assert json.loads((tmp_path / "a/run.json").read_text())["seed"] == 5


def test_the_mean_of_checkpoints_is_the_result(corpus: Path, store: Store, tmp_path: Path) -> None:
    """Beside a run that keeps all: the mean of the best and the two before it, by hand."""
    few = {"max_steps": 12, "eval_steps": 2}
    plain = tiny_recipe(corpus, store.folder.parent, training=few, checkpoints={"keep": "all"})
    seen: dict[int, dict[str, torch.Tensor]] = {}
    first = train(plain, store, tmp_path / "plain", remember(tmp_path / "plain", seen))
    best = first.best_step
    assert best is not None and best > 2
    averaged = tiny_recipe(corpus, store.folder.parent, training={**few, "average_checkpoints": 3})
    found = train(averaged, store, tmp_path / "mean")
    assert found.best_step == best and found.search_scores == first.search_scores
    assert found.weights_sha256 != first.weights_sha256
    weights = safetensors.torch.load_file(tmp_path / "mean/best/model.safetensors")
    steps = [step for step in sorted(seen) if step <= best][-3:]
    if best not in seen:  # the last one is written after the last report
        seen[best] = safetensors.torch.load_file(tmp_path / "plain/best/model.safetensors")
        steps = [*steps, best][-3:]
    for name, tensor in weights.items():
        mean = sum(seen[step][name].double() for step in steps) / len(steps)
        # Both are means in float64, summed in two orders: float32's neighbours at the most.
        torch.testing.assert_close(tensor, mean.float(), rtol=EPS32, atol=0)


def test_a_resumed_run_has_the_same_mean(corpus: Path, store: Store, tmp_path: Path) -> None:
    training = {"max_steps": 12, "eval_steps": 2, "average_checkpoints": 3}
    recipe = tiny_recipe(corpus, store.folder.parent, training=training)
    whole = train(recipe, store, tmp_path / "whole")
    for step in (4, 8):
        train(recipe, store, tmp_path / "parts", lambda m, at=step: m["step"] < at)
        kept = sorted(path.name for path in (tmp_path / "parts/checkpoints").iterdir())
        assert 1 < len(kept) <= 6
    assert train(recipe, store, tmp_path / "parts").weights_sha256 == whole.weights_sha256


def test_a_mean_needs_the_checkpoints_before_the_best(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"checkpoints.keep"):
        tiny_recipe(
            corpus, tmp_path, training={"average_checkpoints": 2}, checkpoints={"keep": "best"}
        )


def test_varied_clips_repeat_and_resume_to_the_bit(
    corpus: Path, store: Store, tmp_path: Path, whole: RunResult
) -> None:
    varied = {"drop_frames": 0.1, "speed": 0.2, "mirror": 0.5, "rotation_deg": 5, "noise": 0.02}
    recipe = tiny_recipe(corpus, store.folder.parent, batch={"augmentation": varied})
    varying = train(recipe, store, tmp_path / "whole")
    assert varying.weights_sha256 != whole.weights_sha256
    train(recipe, store, tmp_path / "parts", lambda metrics: metrics["step"] < 8)
    assert train(recipe, store, tmp_path / "parts").weights_sha256 == varying.weights_sha256
