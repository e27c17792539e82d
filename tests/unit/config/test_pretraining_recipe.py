"""Pretraining recipes: what is refused, what the identity of a run depends on, the schedule."""

import math
from pathlib import Path
from typing import Any

import pytest

from kinesweep.config.loading import load_config, validate_config
from kinesweep.config.pretraining.training import PretrainingLoopConfig
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.errors import ConfigError
from kinesweep.training.pretraining.schedule import resolve_schedule
from pretraining import pretraining_recipe, pretraining_values

FOLDER = Path(__file__).parents[3] / "jobs" / "recipes"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model": {"init_from": "a.pth"}}, "give `scratch` or `init_from`, not both"),
        ({"model": {"from_clip": True}}, "describe `init_from`"),
        ({"objective": {"decoder_heads": 3}}, "must be a multiple of `decoder_heads`"),
        ({"objective": {"mask_ratio": 1}}, "objective.mask_ratio"),
        ({"objective": {"kind": "mea"}}, "objective.kind"),
        ({"batch": {"num_frames": 7}}, "batch.num_frames"),
        ({"batch": {"windows": 3}}, "must be a multiple of `repeats`"),
        ({"training": {"num_train_epochs": 2}}, "give `max_steps` or `num_train_epochs`, not both"),
        (
            {"training": {"base_learning_rate": 1e-3}},
            "give `learning_rate` or `base_learning_rate`, not both",
        ),
        ({"features": {"kind": "pose"}}, "features.kind"),
        ({"training": {"warmup_step": 2}}, "did you mean `warmup_steps`"),
        (
            {"source": {"kind": "pose_tsv", "train": "t.tsv"}},
            "needs `features.kind: pose`, not frames",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        pretraining_recipe(tmp_path, tmp_path, **changes)
    assert text in str(refused.value)


def test_alternatives_replace_defaults(tmp_path: Path) -> None:
    values = pretraining_values(tmp_path, tmp_path)
    values["training"] = {
        **{"num_train_epochs": 3, "warmup_ratio": 0.25, "eval_epochs": 0.5},
        "base_learning_rate": 1e-3,
    }
    training = validate_config(PretrainingRecipe, values, "it").training
    assert (training.max_steps, training.warmup_steps, training.learning_rate) == (None,) * 3
    schedule = resolve_schedule(training, windows_per_step=64, windows_per_epoch=1000)
    # Of 15.625 steps an epoch.
    assert (schedule.max_steps, schedule.warmup_steps, schedule.eval_steps) == (47, 12, 8)
    assert schedule.peak_learning_rate == pytest.approx(1e-3 / 4)


@pytest.mark.parametrize(
    ("kind", "middle"),
    [("cosine", 0.1 + 0.9 * 0.5), ("linear", 0.1 + 0.9 * 0.5), ("constant", 1.0)],
)
def test_learning_rates(kind: str, middle: float) -> None:
    config = PretrainingLoopConfig.model_validate(
        {
            **{"learning_rate": 1.0, "min_learning_rate": 0.1, "lr_scheduler_type": kind},
            **{"max_steps": 110, "warmup_steps": 10},
        }
    )
    rates = [resolve_schedule(config, 1, 1).compute_learning_rate(step) for step in range(110)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1 and rates[60] == pytest.approx(middle)
    if kind == "cosine":
        expected = 0.1 + 0.9 * (1 + math.cos(math.pi * 0.99)) / 2
        assert rates[109] == pytest.approx(expected)
        assert rates[35] > 0.1 + 0.9 * 0.75


def test_a_runs_identity_is_what_changes_its_bits(tmp_path: Path) -> None:
    base = pretraining_recipe(tmp_path, tmp_path).compute_config_hash("store")
    same = [
        {"source": {"kind": "video_tsv", "train": "other.tsv"}},
        {"training": {"seed": 9}},
        {"batch": {"loader_workers": 3}},
        {"resources": {"workers": 2}},
    ]
    for changes in same:
        assert (
            pretraining_recipe(tmp_path, tmp_path, **changes).compute_config_hash("store") == base
        )
    others = [
        {"objective": {"mask_ratio": 0.5}},
        {"batch": {"repeats": 1}},
        {"model": {"drop_path": 0.1}},
        {"training": {"adam_beta2": 0.9}},
        {"model": {"scratch": None, "init_from": "a.pth", "sha256": "0" * 64}},
    ]
    found = {
        pretraining_recipe(tmp_path, tmp_path, **c).compute_config_hash("store") for c in others
    }
    assert len(found | {base}) == 6
    assert pretraining_recipe(tmp_path, tmp_path).compute_config_hash("other") != base


def test_paths_are_resolved_and_weights_hashed(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"weights")
    changes = {"model": {"scratch": None, "init_from": "a.pth"}}
    recipe = pretraining_recipe(Path("corpus"), Path("stores"), **changes).resolve_paths(tmp_path)
    assert recipe.source.splits["train"] == str(tmp_path / "corpus" / "train.tsv")
    assert recipe.store.root == str(tmp_path / "stores")
    assert recipe.model.init_from == str(tmp_path / "a.pth")
    assert recipe.model.sha256 is not None
    # Where the weights lie does not matter, what they are does.
    elsewhere = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"init_from": "b.pth"})}
    )
    assert elsewhere.compute_config_hash("") == recipe.compute_config_hash("")


def test_published_values() -> None:
    recipe = load_config(PretrainingRecipe, FOLDER / "ssvp_mae.yaml")
    training, objective = recipe.training, recipe.objective
    assert (recipe.batch.num_frames, recipe.batch.sampling_rate, recipe.batch.repeats) == (
        128,
        2,
        2,
    )
    assert (recipe.features.size, recipe.features.target_fps) == (224, 25)
    assert (objective.mask_ratio, objective.normalize_targets) == (0.9, True)
    assert (objective.decoder_width, objective.decoder_depth, objective.decoder_heads) == (
        512,
        8,
        8,
    )
    assert recipe.model.drop_path == 0.2 and recipe.model.scratch is None
    assert (training.learning_rate, training.min_learning_rate) == (8e-4, 1e-6)
    assert (training.weight_decay, training.decay_biases, training.max_grad_norm) == (
        0.05,
        False,
        0,
    )
    assert (training.adam_beta1, training.adam_beta2, training.seed) == (0.9, 0.95, 42)
    assert (training.num_train_epochs, training.warmup_ratio) == (400, 120 / 400)
    augmentation = recipe.batch.augmentation
    assert augmentation is not None and augmentation.rand_augment is not None
    assert (augmentation.rand_augment.num_ops, augmentation.rand_augment.magnitude) == (4, 7)
    assert augmentation.horizontal_flip == 0.5
