"""Feature extraction for commands: extract on Ray, open stores, find the store of a model."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinesweep.checkpoints.model_dir_files import read_features
from kinesweep.config.loading import load
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.paths import state_home
from kinesweep.pipelines.cluster import ray_cluster
from kinesweep.pipelines.inputs import load_recipe, model_folder
from kinesweep.pipelines.progress import progress_bar
from kinesweep.store import Store, open_store

logger = logging.getLogger(__name__)


def extract_features(recipe: Recipe) -> Store:
    """Extract the features of a recipe's corpus on Ray, or open the store if they exist.

    Prints the plan first; afterwards the dropped clips and the overlap of train with other splits.

    Raises:
        SourceError: If the corpus as a whole is invalid.
        StoreError: If too many clips are dropped or if there is too little disk space.
    """
    from kinesweep.sources import build_source
    from kinesweep.sources.splitting.split_overlap import overlaps
    from kinesweep.store.extraction.extract import extract
    from kinesweep.store.inspect.show import own_references

    if recipe.video_source is not None:
        from kinesweep.pipelines.pose_estimation import estimate_corpus

        estimate_corpus(recipe)
    ray_cluster.connect()
    with progress_bar("extract") as update:
        store = extract(recipe, progress=update, announce=lambda plan: logger.info(plan.text))
    if store.extraction is not None and not store.extraction.computed:
        logger.info(
            f"nothing to compute: {store.folder} already has all {store.extraction.reused} clips"
        )
    for reason, count in store_facts(store)["dropped"].items():
        logger.info(f"dropped {count}: {reason}")
    if own_references(store):
        logger.info(own_references(store))
    for line in overlaps(build_source(recipe.corpus)).leakage():
        logger.info(line)
    return store


def existing_store(recipe: Recipe) -> Store:
    """Open the store of a recipe whose features are already extracted.

    Raises:
        StoreError: If they are not extracted, or if the corpus has changed since.
    """
    from kinesweep.store.extraction.plan import describe_plan

    summary = describe_plan(recipe)
    if not summary.exists:
        raise StoreError(
            f"the features of `{recipe.name}` are not extracted; run `kinesweep extract` first"
        )
    return open_store(summary.folder)


def open_store_or_recipe(
    place: Path, overrides: Sequence[str] | None = None
) -> tuple[Store, Recipe | None]:
    """Open the store of a folder or of a recipe.

    Args:
        place: Feature store, or a recipe (by its suffix).
        overrides: Overrides of the recipe.

    Returns:
        The store, and the recipe if `place` is one.

    Raises:
        InputError: If `place` is neither, or if overrides are given for a store.
        StoreError: If there is no store or if it is damaged.
    """
    if place.suffix in {".yaml", ".yml"}:
        recipe = load_recipe(place, overrides)
        return existing_store(recipe), recipe
    if not place.is_dir():
        raise InputError(f"`{place}` is neither a feature store nor a recipe")
    if overrides:
        raise InputError(f"`{place}` is a feature store; overrides need a recipe")
    return open_store(place), None


def store_facts(store: Store) -> dict[str, Any]:
    """Return a summary of a store as plain values, for `--json`."""
    done = store.extraction
    return {
        "store": str(store.folder),
        "fingerprint": store.fingerprint,
        "clips": {split: len(store.records(split)) for split in store.splits},
        "widths": store.schema.widths,
        "dropped": store.manifest["dropped"]["reasons"],
        "own_references": store.own_references,
        "computed": done.computed if done else None,
        "reused": done.reused if done else None,
    }


def get_or_extract_features(recipe: Recipe, on_ray: bool) -> Store:
    """Return the recipe's features; extract them on Ray if they do not exist yet."""
    # `extract_features` opens an existing store too, and reports its dropped clips and overlap.
    if on_ray or not store_exists(recipe):
        return extract_features(recipe)
    return existing_store(recipe)


def store_exists(recipe: Recipe) -> bool:
    """Return whether the recipe's features are extracted."""
    from kinesweep.store.extraction.plan import describe_plan

    return describe_plan(recipe).exists


def find_training_store(place: Path, overrides: Sequence[str] = ()) -> Store:
    """Find the store that a model was trained on, by its fingerprint.

    Args:
        place: Folder of a run, a model or a bundle. The recipe of a bundle contains no paths.
        overrides: Overrides of its recipe, such as `store.root`.

    Raises:
        ConfigError: If an override is invalid.
        StoreError: If no store below `store.root` (default: the state folder) has the fingerprint.
    """
    wanted = read_features(model_folder(place))["store_fingerprint"]
    recipe = load(Recipe, model_folder(place) / "recipe.yaml", overrides)
    if not wanted:  # a model imported from another system, which had no store
        return existing_store(recipe)
    root = Path(recipe.store.root or state_home() / "stores")
    for manifest in sorted(root.glob("*/manifest.json")):
        try:
            store = open_store(manifest.parent)
        except StoreError:
            continue  # damaged, or written by another version; look at the other stores
        if store.fingerprint == wanted:
            return store
    raise StoreError(
        f"the features that `{place}` was trained on are not in `{root}`; pass `store.root=FOLDER`"
        " or run `kinesweep extract` with its recipe again"
    )
