"""A search space is checked against its recipe before the first trial."""

from pathlib import Path
from typing import Any

import pytest

from kinesweep.core.errors import ConfigError
from kinesweep.core.hashing import flatten_mapping
from kinesweep.sweeps.space.arms import find_arms
from kinesweep.sweeps.space.fixed_designs import build_fixed_design
from kinesweep.sweeps.space.loading import apply_overrides, load_space
from spaces import LAYERS, RATE, load, write

LEVELS = {"role": "scientific", "choices": ["bart", "m2m_100"]}
ARCHITECTURE = "model.backbone.scratch.architecture"


@pytest.mark.parametrize(
    ("parameters", "key", "text"),
    [
        ({"training.learnin_rate": {"log": [1e-4, 1e-2]}}, "learnin_rate", "`training.learning_r"),
        ({"training.deepspeed": {"choices": [2, 3]}}, "deepspeed", "`training.fsdp: true`"),
        (
            {"training.alignment.temperature": {"log": [0.01, 1]}},
            "training.alignment.temperature",
            "whose `training.alignment` is null; give this section a value",
        ),
        ({RATE: {"float": [-1.0, 1.0]}}, "learning_rate", "greater than 0"),
        ({"training.max_steps": {"choices": [10, 2.5]}}, "max_steps", "2.5"),
        ({"training.seed": {"int": [1, 5]}}, "training.seed", "`role: noise`"),
        ({"training.seed": {"role": "noise", "choices": [1]}}, "training.seed", "two seeds"),
        ({RATE: {"role": "noise", "choices": [0.1, 0.2]}}, "learning_rate", "can be noise"),
        ({"features.stride": {"int": [1, 2]}}, "features.stride", "needs `choices`"),
        ({RATE: {"log": [0, 1]}}, "learning_rate", "above 0"),
        ({RATE: {"log": [2, 1]}}, "learning_rate", "must be increasing"),
        ({RATE: {}}, "learning_rate", "exactly one"),
        ({RATE: {"lgo": [1, 2]}}, "lgo", "did you mean `log`?"),
        ({RATE: {"choices": [0.1, 0.1]}}, "learning_rate", "a value twice"),
        ({RATE: {"role": "scientific", "log": [1e-4, 1]}}, "learning_rate", "needs `choices`"),
        ({RATE: {"role": "scientific", "choices": [0.1]}}, "learning_rate", "at least two"),
        ({RATE: {"role": "fixed", "choices": [0.1, 0.2]}}, "learning_rate", "exactly one choice"),
        ({RATE: {"log": [1e-4, 1], "when": {"training.spees": 1}}}, "spees", "unknown"),
        (
            {RATE: {"log": [1e-4, 1], "when": {LAYERS: 9}}, LAYERS: {"int": [1, 3]}},
            "learning_rate",
            "never has the value 9",
        ),
        (
            {
                RATE: {"log": [1e-4, 1], "when": {LAYERS: 1}},
                LAYERS: {"int": [1, 3], "when": {RATE: 1}},
            },
            "parameters",
            "form a cycle",
        ),
    ],
)
def test_bad_parameters(tmp_path: Path, parameters: dict[str, object], key: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, parameters=parameters)
    assert key in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"finalists": {"seeds": [0, 1]}}, "biased"),
        ({"search": {"kind": "tpe"}}, "needs `trials`"),
        ({"search": {"kind": "grid"}}, "a grid needs `choices`"),
        ({"metric": [{"name": "bleu"}, {"name": "decode_ms"}]}, "pruners support only one"),
        ({"metric": [{"name": "parameters"}]}, "must begin with a score"),
        ({"metric": {"name": "bleu", "mode": "min"}}, "requires mode `max`"),
        ({"pruner": {"kind": "hyperbnd"}}, "pruner.kind"),
        ({"budget": {"hours": 0}}, "greater than 0"),
        ({"budget": {"disk": "much"}}, "amount of bytes"),
        (
            {
                "search": {"kind": "cmaes", "trials": 4},
                "parameters": {RATE: {"choices": [0.1, 0.2]}},
            },
            "cannot search",
        ),
    ],
)
def test_bad_plans(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load(tmp_path, **changes)


def test_overrides_reach_space_and_recipe(tmp_path: Path) -> None:
    path = write(tmp_path, {})
    given, recipe = load_space(path, ["search.trials=3", "recipe.training.max_steps=7"], tmp_path)
    assert (given.search.trials, recipe.training.max_steps) == (3, 7)


def test_another_kind_begins_with_its_own_defaults(tmp_path: Path) -> None:
    _, recipe = load(tmp_path)
    changed = apply_overrides(recipe, {"model.tokenizer.kind": "train", "model.tokenizer.size": 99})
    assert changed.model.tokenizer.kind == "train"
    assert changed.model.tokenizer.algorithm == recipe.model.tokenizer.algorithm, "the same kind"
    with pytest.raises(ConfigError, match="pretrained"):
        apply_overrides(recipe, {"model.tokenizer.kind": "pretrained"})


def test_a_new_kind_keeps_what_the_trial_sets_beside_it(tmp_path: Path) -> None:
    _, recipe = load(tmp_path)
    kind = next(k for k in ("linear", "mlp") if k != recipe.model.encoder.kind)
    values = {"model.encoder.dropout": 0.37, "model.encoder.kind": kind}
    for ordered in (values, dict(reversed(values.items()))):
        encoder = apply_overrides(recipe, ordered).model.encoder
        assert (encoder.kind, encoder.dropout) == (kind, 0.37)


def test_arms_are_the_levels_and_conditions_hold(tmp_path: Path) -> None:
    dropout = "model.backbone.scratch.dropout"
    parameters = {
        ARCHITECTURE: LEVELS,
        dropout: {"choices": [0.0, 0.1], "when": {ARCHITECTURE: "bart"}},
        RATE: {"choices": [0.1, 0.2]},
    }
    space, recipe = load(tmp_path, search={"kind": "grid"}, parameters=parameters)
    base = flatten_mapping(recipe.model_dump(mode="json"))
    arms = find_arms(space, base)
    assert arms == [{ARCHITECTURE: "bart"}, {ARCHITECTURE: "m2m_100"}]
    grids = []
    for arm in arms:
        point = build_fixed_design(space, arm, base)
        grids.append([values for k in range(9) if (values := point(k)) is not None])
    assert [len(grid) for grid in grids] == [4, 2]
    assert all((dropout in v) == (v[ARCHITECTURE] == "bart") for grid in grids for v in grid)


@pytest.mark.parametrize("kind", ["random", "qmc"])
def test_a_list_is_the_same_from_any_place(tmp_path: Path, kind: str) -> None:
    space, recipe = load(tmp_path, search={"kind": kind, "trials": 9})
    base = flatten_mapping(recipe.model_dump(mode="json"))
    points = [build_fixed_design(space, {}, base)(k) for k in range(9)]
    assert build_fixed_design(space, {}, base)(5) == points[5]
    rates = [p[RATE] for p in points if p is not None]
    assert len(set(rates)) == 9
    assert all(1e-4 <= rate < 1e-2 for rate in rates)
    assert {p[LAYERS] for p in points if p is not None} == {1, 2, 3}
