"""Search spaces for tests: a tiny recipe and what is asked of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.planning.simulation import SimulatedRun, VirtualClock
from kinesweep.sweeps.search.ask_tell import RunEnd
from kinesweep.sweeps.search.budget import Budget
from kinesweep.sweeps.search.finals import FinalsPolicy, list_final_runs, select_finalists
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from kinesweep.sweeps.space.loading import compute_base_values, load_space
from kinesweep.sweeps.space.space import SearchSpace

SPACE = {
    "question": "Which rate?",
    "recipe": "recipe.yaml",
    "search": {"kind": "tpe", "trials": 6, "seed": 0},
    "finalists": {"count": 2, "seeds": [1, 2]},
    "parameters": {
        "training.learning_rate": {"log": [1e-4, 1e-2]},
        "model.backbone.scratch.encoder_layers": {"int": [1, 3]},
    },
}
RATE, LAYERS = SPACE["parameters"]
SAMPLES = 100.0
"""From one evaluation to the next."""


def write(folder: Path, changes: dict[str, Any]) -> Path:
    """A space's file beside its recipe's."""
    recipe = tiny_recipe(folder / "corpus", folder / "stores")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump({**SPACE, **changes}))
    return path


def load(folder: Path, **changes: Any) -> tuple[SearchSpace, Recipe]:
    """A space and its recipe."""
    return load_space(write(folder, changes), [], folder)


def search(
    space: SearchSpace, recipe: Recipe, journal: Journal, slots: int = 2, final_runs: int = 0
) -> SearchPolicy:
    """The policy of a search, its configurations named by the recipe alone."""
    facts = SearchContext(
        recipe=recipe,
        compute_config_hash=lambda changed: changed.compute_config_hash("store"),
        samples_per_eval=SAMPLES,
        budget=Budget(space.budget, space.resources, slots, final_runs),
    )
    return SearchPolicy(space, facts, journal)


def finals(space: SearchSpace, recipe: Recipe, journal: Journal, **kwargs: Any) -> FinalsPolicy:
    """The policy of its finals."""
    chosen = select_finalists(space, compute_base_values(space, recipe), journal.trials)
    return FinalsPolicy(
        list_final_runs(chosen, lambda v, s: f"{sorted(v.items())}-s{s}"), journal, **kwargs
    )


def virtual() -> tuple[Journal, VirtualClock]:
    """A journal in memory with a clock that tests move."""
    clock = VirtualClock()
    journal = Journal(None, clock)
    journal.start_session("one", "?")
    return journal, clock


def course(
    score: float,
    evaluations: int = 3,
    seconds: float = 10.0,
    others: Sequence[str] = (),
    **end: Any,
) -> SimulatedRun:
    """A run whose loss falls to `50 - score` and that scores `score`, by `others` too."""
    told = [
        (
            seconds * (n + 1) / (evaluations + 1),
            {"step": 4 * (n + 1), "samples": SAMPLES * (n + 1), "token_loss": 50 - score}
            | dict.fromkeys(others, score),
        )
        for n in range(evaluations)
    ]
    scores = {
        **dict.fromkeys(others, score),
        "bleu": score,
        "parameters": 1000.0 - score,
        "decode_ms": 1.0,
    }
    return SimulatedRun(told, RunEnd("finished", scores, seconds=seconds))
