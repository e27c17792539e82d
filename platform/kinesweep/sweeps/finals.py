"""What is trained again on fresh seeds: the best of the search, the baseline, the sanity runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kinesweep.core.recipe import Recipe
from kinesweep.sweeps.journal import Trial
from kinesweep.sweeps.space import SearchSpace, apply

UNTUNED = "untuned"


@dataclass(frozen=True)
class Finalist:
    """One configuration of the finals.

    Attributes:
        name: `trial 7`, `untuned`, `trained on zeros`.
        recipe: the configuration.
        values: the swept parameters, every one.
        seeds: on which it is trained.
        ranked: whether it takes part in the ranking; sanity runs stand beside it.
    """

    name: str
    recipe: Recipe
    values: dict[str, Any]
    seeds: tuple[int, ...]
    ranked: bool = True


def best_trials(trials: Sequence[Trial], count: int) -> list[Trial]:
    """The best finished trials, no configuration twice; of equal scores the earlier."""
    finished = [t for t in trials if t.state == "finished" and t.score is not None]
    chosen: dict[str, Trial] = {}
    for trial in sorted(finished, key=lambda t: (-(t.score or 0.0), t.number)):
        chosen.setdefault(trial.config, trial)
    return list(chosen.values())[:count]


def choose(space: SearchSpace, recipe: Recipe, trials: Sequence[Trial]) -> list[Finalist]:
    """The finals of a sweep, the best configuration first."""
    seeds = space.finalists.seeds
    finalists = [
        Finalist(f"trial {trial.number}", apply(recipe, trial.values), trial.values, seeds)
        for trial in best_trials(trials, space.finalists.count)
    ]
    default = default_values(space, recipe)
    if space.baseline:
        finalists.append(Finalist(UNTUNED, recipe, default, seeds))
    source = finalists[0] if finalists else Finalist(UNTUNED, recipe, default, seeds)
    for kind in ("zeros", "shuffled"):
        if kind in space.sanity:
            ablated = apply(source.recipe, {"batch.ablation": kind})
            name = f"trained on {'zeros' if kind == 'zeros' else 'shuffled pairs'}"
            finalists.append(Finalist(name, ablated, source.values, seeds[:1], ranked=False))
    return finalists


def default_values(space: SearchSpace, recipe: Recipe) -> dict[str, Any]:
    """What the recipe itself says of each swept parameter."""
    plain: dict[str, Any] = recipe.model_dump(mode="json")
    values = {}
    for name in space.parameters:
        here: Any = plain
        for key in name.split("."):
            here = here.get(key) if isinstance(here, dict) else None
        values[name] = here
    return values
