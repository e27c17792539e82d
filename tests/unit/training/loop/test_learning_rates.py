"""Learning rates by part: groups of the optimizer, trained weights, refused parts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.models.translator import Translator
from kinesweep.store import Store
from kinesweep.training.loop.components import build_components
from kinesweep.training.loop.parameter_groups import split_parameter_groups
from kinesweep.training.loop.run import RunSpec, train_run, write_initial_model


def recipe_of(corpus: Path, store: Store, **sections: Any) -> Recipe:
    return tiny_recipe(corpus, store.folder.parent, **sections)


def groups_of(model: Translator, rates: dict[Any, float]) -> list[tuple[float, float, set[int]]]:
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=1e-3
    )
    split_parameter_groups(optimizer, model, rates)
    split_parameter_groups(optimizer, model, rates)
    return [
        (group["lr"], group["weight_decay"], {id(p) for p in group["params"]})
        for group in optimizer.param_groups
    ]


def ids_of(module: torch.nn.Module) -> set[int]:
    return {id(p) for p in module.parameters()}


def test_the_smallest_part_of_a_weight_sets_its_rate(corpus: Path, store: Store) -> None:
    model = build_components(recipe_of(corpus, store), store).model
    groups = groups_of(model, {"backbone": 1e-4, "backbone_decoder": 1e-5, "embeddings": 1e-6})
    by_rate: dict[float, set[int]] = {}
    for rate, _, ids in groups:
        by_rate[rate] = by_rate.get(rate, set()) | ids
    embeddings = ids_of(model.get_input_embeddings())
    assert by_rate[1e-6] == embeddings
    assert by_rate[1e-5] == ids_of(model.backbone.get_decoder()) - embeddings
    assert by_rate[1e-4] == ids_of(model.backbone) - by_rate[1e-5] - embeddings
    assert by_rate[1e-3] == ids_of(model) - ids_of(model.backbone)
    # Weight decay stays what it was, and the common rate comes first.
    decayed = {id(p) for p in model.parameters() if p.dim() > 1}
    assert all(ids <= decayed if decay else not ids & decayed for _, decay, ids in groups)
    assert groups[0][0] == 1e-3
    assert sum(len(ids) for *_, ids in groups) == len([*model.parameters()])


def test_one_rate_for_everything_needs_no_new_groups(corpus: Path, store: Store) -> None:
    model = build_components(recipe_of(corpus, store), store).model
    assert [group[:2] for group in groups_of(model, {})] == [(1e-3, 0.1), (1e-3, 0.0)]
    both = groups_of(model, {"encoder": 2e-3, "backbone": 2e-3})
    assert [group[:2] for group in both] == [(2e-3, 0.1), (2e-3, 0.0)]


def test_tied_weights_have_one_rate(corpus: Path, store: Store) -> None:
    model = build_components(recipe_of(corpus, store), store).model
    with pytest.raises(ConfigError, match=r"lm_head.*shares its weights with `embeddings`"):
        groups_of(model, {"embeddings": 1e-4, "lm_head": 1e-5})
    assert len(groups_of(model, {"embeddings": 1e-4, "lm_head": 1e-4})) == 3
    model.get_freezable_part("encoder").requires_grad_(False)
    with pytest.raises(ConfigError, match=r"learning_rates.encoder.*changes no weight"):
        groups_of(model, {"encoder": 1e-4})


def test_a_run_trains_each_part_at_its_rate(corpus: Path, store: Store, tmp_path: Path) -> None:
    """With a common rate near zero only the projectors move; the schedule scales their rate too."""
    training = {"learning_rate": 1e-9, "learning_rates": {"projector": 1e-2}, "max_steps": 4}
    recipe = recipe_of(corpus, store, training=training)
    assert recipe.training.learning_rates == {"encoder": 1e-2}
    write_initial_model(recipe, store, tmp_path / "initial")
    spec = RunSpec(recipe, store.folder, tmp_path / "run")
    assert train_run(spec, NullRunLogger(), lambda _: True).status == "finished"
    before, after = (
        Translator.from_pretrained(tmp_path / name).state_dict() for name in ("initial", "run/best")
    )
    moved = {name for name in before if (before[name] - after[name]).abs().max() > 1e-6}
    assert moved and all(name.startswith(("encoders.", "fusion.")) for name in moved)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"training": {"learning_rates": {"projector": 1, "encoder": 2}}}, "another name"),
        ({"training": {"learning_rates": {"vision": 1e-4}}}, "`model.vision.learning_rate`"),
        ({"training": {"learning_rates": {"head": 1e-4}}}, "learning_rates"),
        ({"training": {"learning_rates": {"encoder": 0}}}, "greater than 0"),
        (
            {"training": {"learning_rates": {"lm_head": 1e-4}}, "model": {"freeze": ["lm_head"]}},
            "`model.freeze` keeps",
        ),
        (
            {"training": {"stage": "projectors", "learning_rates": {"backbone": 1e-4}}},
            "trains the encoders only",
        ),
    ],
)
def test_refused_parts(corpus: Path, store: Store, sections: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_of(corpus, store, **sections)


def test_without_them_no_hash_changes(corpus: Path, store: Store) -> None:
    plain, rated = (
        recipe_of(corpus, store, training=training)
        for training in ({}, {"learning_rates": {"encoder": 1e-2}})
    )
    bare = plain.model_copy(
        update={"training": plain.training.model_copy(update={"learning_rates": {}})}
    )
    assert plain.compute_config_hash("f") == bare.compute_config_hash("f")
    assert plain.compute_config_hash("f") != rated.compute_config_hash("f")
