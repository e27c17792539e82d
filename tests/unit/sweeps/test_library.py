"""The search spaces that come with the project say what they promise."""

from pathlib import Path

import pytest

from kinesweep.sweeps.planning.simulation import simulate_policy
from kinesweep.sweeps.space.arms import find_arms
from kinesweep.sweeps.space.loading import apply_overrides, load_space
from spaces import course, search, virtual

ROOT = Path(__file__).resolve().parents[3]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_it_loads_and_proposes(path: Path) -> None:
    space, recipe = load_space(path, [], ROOT)
    journal, clock = virtual()
    names = [space.pruner.metric, *(objective.name for objective in space.objectives)]
    run = course(5.0, others=names)
    simulate_policy(search(space, recipe, journal), lambda _: run, 2, clock)
    assert journal.trials or len(space.final_seeds) == 5
    assert space.question.endswith("?")


def test_the_grid_has_54_points() -> None:
    space, recipe = load_space(ROOT / "search_spaces/phoenix_grid.yaml", [], ROOT)
    journal, clock = virtual()
    simulate_policy(search(space, recipe, journal), lambda _: course(5.0), 2, clock)
    assert len({tuple(sorted(t.values.items())) for t in journal.trials}) == 54
    assert all(trial.duplicate_of is None for trial in journal.trials)


def test_the_encoder_question_has_an_arm_for_each_answer() -> None:
    space, _ = load_space(ROOT / "search_spaces/encoder.yaml", [], ROOT)
    kinds = [arm["model.encoder.kind"] for arm in find_arms(space, {})]
    assert kinds == ["linear", "mlp", "cnn"]


def test_the_question_about_skeletons_has_fair_arms() -> None:
    space, recipe = load_space(ROOT / "search_spaces/motion_encoder.yaml", [], ROOT)
    assert space.objectives[0].name == "cider"
    journal, clock = virtual()
    simulate_policy(search(space, recipe, journal), lambda _: course(5.0), 2, clock)
    tried = [trial.values for trial in journal.trials if trial.duplicate_of is None]
    kinds = [values["model.encoder.kind"] for values in tried]
    assert {kind: kinds.count(kind) for kind in kinds} == {"linear": 3, "stgcn": 3, "stagcn": 3}
    encoders = {apply_overrides(recipe, values).model.encoder for values in tried}
    assert {encoder.dropout for encoder in encoders} == {0.1} and len(encoders) == 3


def test_five_seeds_are_five_seeds() -> None:
    space, _ = load_space(ROOT / "search_spaces/five_seeds.yaml", [], ROOT)
    assert list(space.final_seeds) == [1, 2, 3, 4, 5]
