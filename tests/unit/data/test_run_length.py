"""Epochs and ratios become the steps that Hugging Face's Trainer counts."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from corpus import tiny_recipe
from kinesweep.config.loading import load_config, read_yaml
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.data.bucketing import plan_epoch
from kinesweep.data.run_length.step_counts import (
    TrainingResolver,
    count_epoch_batches,
    resolve_steps,
    resolve_training,
)
from kinesweep.store.format.index import ClipRecord
from kinesweep.sweeps.space.loading import apply_overrides
from records import memory_store
from trainer_steps import count_trainer_steps


def make_store(num_clips: int, seed: int = 0) -> Any:
    rng = random.Random(seed)
    clips = [
        ClipRecord(Clip(str(n), "train", ("a",)), {"pose": rng.randint(5, 60)})
        for n in range(num_clips)
    ]
    store = memory_store(*clips)
    store.fingerprint = f"{num_clips} {seed}"
    return store


def make_recipe(tmp_path: Path, batch: dict[str, Any], training: dict[str, Any]) -> Recipe:
    batch = {"batch_size": None, **batch}
    training = {"max_steps": None, "eval_steps": None, **training}
    return tiny_recipe(tmp_path, tmp_path, batch=batch, training=training)


def count_with_hugging_face(
    recipe: Recipe, num_clips: int, num_workers: int, folder: Path
) -> tuple[int, int]:
    """Steps in all and of warmup, as the Trainer and accelerate count them for one of the ranks."""
    training, batch = recipe.training, recipe.batch
    arguments = {
        "num_train_epochs": training.num_train_epochs,
        "warmup_steps": training.warmup_ratio,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "per_device_train_batch_size": batch.batch_size,
        "dataloader_drop_last": batch.drop_last,
    }
    return count_trainer_steps(arguments, num_clips, num_workers, folder)


@pytest.mark.parametrize("case", range(20))
def test_steps_are_hugging_faces(tmp_path: Path, case: int) -> None:
    rng = random.Random(case)
    num_workers, size = rng.randint(1, 4), rng.randint(1, 9)
    num_clips = rng.randint(size * num_workers, 300)
    drop_last = rng.random() < 0.4
    training = {
        "num_train_epochs": rng.choice([rng.randint(1, 9), rng.uniform(0.05, 5), 1.1, 0.7]),
        "warmup_ratio": rng.choice([0.0, 0.1, rng.random()]),
        "gradient_accumulation_steps": rng.randint(1, 5),
    }
    recipe = make_recipe(tmp_path, {"batch_size": size, "drop_last": drop_last}, training)
    resolved = resolve_training(recipe, make_store(num_clips, case), num_workers)
    assert (resolved.max_steps, resolved.warmup_steps) == count_with_hugging_face(
        recipe, num_clips, num_workers, tmp_path
    )


@pytest.mark.parametrize("batch", [{"max_frames": 150}, {"batch_size": 7, "drop_last": True}])
def test_an_epoch_has_as_many_batches_as_are_planned(tmp_path: Path, batch: dict[str, Any]) -> None:
    recipe, store = make_recipe(tmp_path, batch, {"num_train_epochs": 2}), make_store(50)
    lengths = [record.lengths["pose"] for record in store.get_records("train")]
    planned = plan_epoch(lengths, recipe.effective_batch, 0, 0)
    assert count_epoch_batches(recipe, store) == len(planned) > 1
    assert resolve_training(recipe, store, 1).max_steps == 2 * len(planned)


def test_the_steps_of_a_configuration_are_the_same_for_all_seeds(tmp_path: Path) -> None:
    recipe, store = (
        make_recipe(tmp_path, {"max_frames": 90}, {"num_train_epochs": 3}),
        make_store(99),
    )
    assert len({resolve_training(recipe.with_seed(s), store, 1).max_steps for s in range(9)}) == 1


def test_batches_that_are_left_out_are_the_incomplete_ones(tmp_path: Path) -> None:
    config = make_recipe(tmp_path, {"batch_size": 8, "drop_last": True}, {}).batch
    batches = plan_epoch(list(range(1, 51)), config, 1, 0)
    assert [len(batch) for batch in batches] == [8] * 6
    others = plan_epoch(list(range(1, 51)), config, 1, 1)
    assert {i for batch in batches for i in batch} != {i for batch in others for i in batch}


def test_evaluations_by_epochs(tmp_path: Path) -> None:
    training = {"num_train_epochs": 2, "eval_epochs": 0.5}
    resolved = resolve_training(
        make_recipe(tmp_path, {"batch_size": 10}, training), make_store(100), 1
    )
    assert (resolved.max_steps, resolved.eval_steps, resolved.steps_per_epoch) == (20, 5, 10)
    line = resolved.format_step_counts()
    assert line == (
        "2 epochs of 10 steps = 20 steps, 0 steps of warmup,"
        " an evaluation every 5 steps (0.5 epochs of 10 steps)"
    )
    # In floating point, 1.1 · 70 is more than 77.
    assert resolve_steps(TrainingConfig(eval_epochs=1.1), 70).eval_steps == 77


def test_defaults_are_those_from_before() -> None:
    for values in ({}, {"max_steps": None, "warmup_steps": None, "eval_steps": None}):
        training = TrainingConfig.model_validate(values)
        assert (training.max_steps, training.warmup_steps, training.eval_steps) == (10_000, 0, 250)
    by_epochs = TrainingConfig(num_train_epochs=3, warmup_ratio=0.1, eval_epochs=1)
    assert (by_epochs.max_steps, by_epochs.warmup_steps, by_epochs.eval_steps) == (None,) * 3
    assert TrainingConfig.model_validate(by_epochs.model_dump()) == by_epochs


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_steps": 5, "num_train_epochs": 2}, "`max_steps` or `num_train_epochs`, not both"),
        ({"warmup_steps": 0, "warmup_ratio": 0.1}, "`warmup_steps` or `warmup_ratio`, not both"),
        ({"eval_steps": 5, "eval_epochs": 1}, "`eval_steps` or `eval_epochs`, not both"),
        ({"num_train_epochs": 0}, "greater than 0"),
        ({"num_train_epochs": float("inf")}, "finite"),
        ({"warmup_ratio": 1.0}, "less than 1"),
        ({"eval_epochs": -1}, "greater than 0"),
    ],
)
def test_impossible_values_are_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate(values)


def test_epochs_without_a_step_are_errors(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, {"batch_size": 8, "drop_last": True}, {"num_train_epochs": 3.0})
    with pytest.raises(InputError, match=r"train has only 7; lower `batch.batch_size`"):
        resolve_training(recipe, make_store(7), 1)
    with pytest.raises(InputError, match=r"0 steps: .* 1 batches are too few for 2 workers"):
        resolve_training(recipe, make_store(9), 2)
    with pytest.raises(ConfigError, match="`drop_last` needs `batch_size`"):
        make_recipe(tmp_path, {"drop_last": True}, {})


def test_an_override_replaces_its_alternative(tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_text("{max_steps: 5, warmup_ratio: 0.1}")
    values = read_yaml(path, ["num_train_epochs=2", "warmup_steps=3"])
    assert values == {
        "max_steps": None,
        "warmup_ratio": None,
        "num_train_epochs": 2,
        "warmup_steps": 3,
    }
    training = load_config(TrainingConfig, path, ["num_train_epochs=2", "eval_epochs=1"])
    assert (training.max_steps, training.eval_steps, training.warmup_ratio) == (None, None, 0.1)
    with pytest.raises(ConfigError, match="not both"):
        load_config(TrainingConfig, path, ["num_train_epochs=2", "max_steps=7"])


def test_trials_vary_epochs_and_ratios(tmp_path: Path) -> None:
    recipe, store = make_recipe(tmp_path, {"batch_size": 10}, {"max_steps": 9}), make_store(100)
    counts: list[int] = []

    def get_store(_: Recipe) -> Any:
        counts.append(1)
        return store

    resolve: Callable[[Recipe], Any] = TrainingResolver(get_store, num_workers=2)
    found = []
    for epochs, ratio in ((1, 0.5), (4, 0.25), (4, 0.0)):
        values = {"training.num_train_epochs": epochs, "training.warmup_ratio": ratio}
        resolved = resolve(apply_overrides(recipe, values))
        found.append((resolved.max_steps, resolved.warmup_steps))
    assert found == [(5, 3), (20, 5), (20, 0)]
    assert resolve(recipe).max_steps == 9


def test_hashes_of_recipes_without_the_keys_stay(tmp_path: Path) -> None:
    def get_hash(**training: Any) -> str:
        return make_recipe(tmp_path, {"batch_size": 8}, training).compute_config_hash("store")

    assert get_hash(max_steps=12, eval_steps=4) == "dc7c61deb444"
    # The default of a key that is replaced is no part of the hash.
    by_epochs = make_recipe(tmp_path, {"batch_size": 8}, {"num_train_epochs": 2})
    values = Recipe.model_validate(by_epochs.model_dump(mode="json"))
    assert values.compute_config_hash("store") == by_epochs.compute_config_hash("store")
    assert get_hash(num_train_epochs=2) != get_hash(num_train_epochs=3) != get_hash()
