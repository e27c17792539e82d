"""What verbs and jobs do, as columns of steps: each floor builds its part, and they are joined here.

The floors beside each other (sweeps, tracking, export) never import one another; this module hands
one's results to the next.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinesweep.cli import cluster
from kinesweep.cli.output import progress, say
from kinesweep.core.config import load
from kinesweep.core.errors import StoreError
from kinesweep.core.recipe import Recipe
from kinesweep.store import Store, open_store


def load_recipe(path: Path, overrides: Sequence[str] | None) -> Recipe:
    """Reads a recipe; its paths become absolute, from the current folder.

    Raises:
        ConfigError: with every problem.
    """
    return load(Recipe, path, overrides or ()).resolved(Path.cwd())


def extract_features(recipe: Recipe) -> Store:
    """Extracts the recipe's corpus on Ray, or finds it extracted; says what is done first.

    Raises:
        SourceError: the corpus is faulty as a whole.
        StoreError: too many clips dropped, or too little disk.
    """
    from kinesweep.store.extract import extract

    cluster.connect()
    with progress("extract") as update:
        store = extract(recipe, progress=update, announce=lambda plan: say(plan.text))
    for reason, count in store_facts(store)["dropped"].items():
        say(f"dropped {count}: {reason}")
    return store


def existing_store(recipe: Recipe) -> Store:
    """The recipe's store, which must have been extracted.

    Raises:
        StoreError: it was not, or the corpus has changed since.
    """
    from kinesweep.store.plan import describe_plan

    summary = describe_plan(recipe)
    if not summary.exists:
        raise StoreError(
            f"the features of `{recipe.name}` are not extracted; run `kinesweep extract` first"
        )
    return open_store(summary.folder)


def store_facts(store: Store) -> dict[str, Any]:
    """A store in plain values, for `--json`."""
    done = store.extraction
    return {
        "store": str(store.folder),
        "fingerprint": store.fingerprint,
        "clips": {split: len(store.records(split)) for split in store.splits},
        "widths": store.schema.widths,
        "dropped": store.manifest["dropped"]["reasons"],
        "computed": done.computed if done else None,
        "reused": done.reused if done else None,
    }
