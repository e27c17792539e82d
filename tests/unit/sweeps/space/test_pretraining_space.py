"""Search spaces over pretraining recipes: objectives, defaults, keys, and what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from kinesweep.config.any_recipe import require_translation
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.store.format.index import ClipRecord
from kinesweep.sweeps.run_kinds import build_training_resolver, count_samples_per_eval
from kinesweep.sweeps.space.loading import apply_overrides, load_space
from pretraining import pretraining_values

_SPACE = {
    "question": "Which rate?",
    "recipe": "recipe.yaml",
    "metric": {"name": "masked_loss"},
    "search": {"trials": 2},
    "parameters": {"training.learning_rate": {"log": [1e-4, 1e-2]}},
}


def load(folder: Path, objective: dict[str, Any] | None = None, **changes: Any):
    values = pretraining_values(folder, folder / "stores")
    if objective is not None:
        values["objective"] = objective
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    (folder / "space.yaml").write_text(yaml.safe_dump({**_SPACE, **changes}))
    return load_space(folder / "space.yaml", [], folder)


_CLIP = {
    "kind": "clip",
    "text": {"scratch": {"architecture": "bert"}, "tokenizer": {"kind": "train"}},
}


def test_a_loss_is_minimized_and_prunes_by_itself(tmp_path: Path) -> None:
    space, recipe = load(tmp_path)
    assert isinstance(recipe, PretrainingRecipe)
    assert space.objectives[0].direction_sign == space.pruner.direction_sign == -1
    assert space.pruner.metric == "masked_loss" and space.sanity_baselines == ()
    changed = apply_overrides(recipe, {"training.learning_rate": 3e-3})
    assert type(changed) is PretrainingRecipe and changed.training.learning_rate == 3e-3


def test_recall_is_maximized(tmp_path: Path) -> None:
    space, _ = load(
        tmp_path, _CLIP, metric={"name": "recall_5"}, pruner={"metric": "contrastive_loss"}
    )
    assert space.objectives[0].direction_sign == 1 and space.pruner.direction_sign == -1


@pytest.mark.parametrize(
    ("objective", "changes", "problem"),
    [
        (None, {"metric": {"name": "bleu"}}, "`bleu` is no score of this pretraining"),
        (None, {"metric": {"name": "recall_1"}}, "use one of `masked_loss`, `parameters`"),
        (_CLIP, {"metric": {"name": "median_rank"}}, "use one of `masked_loss`, `recall_1`"),
        (None, {"metric": {"name": "masked_loss", "mode": "max"}}, "requires mode `min`"),
        (None, {"pruner": {"metric": "token_loss"}}, "not computed while pretraining"),
        (None, {"sanity_baselines": ["constant"]}, "baselines write texts"),
        (None, {"parameters": {"training.rate": {"choices": [1, 2]}}}, "is not a key"),
        (None, {"parameters": {"objective.mask_ratio": {"choices": [2]}}}, "less than 1"),
        (None, {"parameters": {"source.train": {"choices": ["a"]}}}, "cannot be searched"),
    ],
)
def test_what_does_not_suit_pretraining_is_refused(
    tmp_path: Path, objective: dict[str, Any] | None, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, objective, **changes)


def test_commands_that_measure_decoding_refuse_it(tmp_path: Path) -> None:
    _, recipe = load(tmp_path)
    with pytest.raises(InputError, match="`kinesweep plan` measures training and decoding"):
        require_translation(recipe, "kinesweep plan")


def test_windows_are_counted_between_evaluations(tmp_path: Path) -> None:
    _, recipe = load(tmp_path)
    recipe = apply_overrides(recipe, {"training.gradient_accumulation_steps": 3})

    record = ClipRecord(Clip("a", "train", "x"), {"video": 40})
    store: Any = SimpleNamespace(splits=("train",), get_records=lambda _: [record] * 6)
    resolve = build_training_resolver(lambda _: store, 2)
    assert count_samples_per_eval(recipe, resolve(recipe), store, 2) == 4 * 3 * 2 * 2
    epochs = apply_overrides(recipe, {"training.num_train_epochs": 4})
    # 6 clips of 2 windows an epoch, 24 windows a step.
    assert resolve(epochs).max_steps == 2
