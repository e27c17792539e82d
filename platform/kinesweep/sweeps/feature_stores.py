"""The feature stores of a sweep: one for each combination of searched `features` keys.

Most sweeps have one store. If features are searched, such as a pose estimator or a selection of
keypoints, all combinations are extracted before the first trial, and each trial looks up its own
store. All stores must have the same validation and test clips, so that scores compare the same
sentences.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError, StoreError
from kinesweep.data.length_limits import filter_clips_by_length
from kinesweep.store import Store
from kinesweep.sweeps.space.loading import FEATURES_PREFIX, apply_overrides
from kinesweep.sweeps.space.space import SearchSpace

_COMPARED_SPLITS = ("validation", "test")


@dataclass(frozen=True)
class FeatureStores:
    """The feature stores of a sweep, by the feature settings with which they were extracted.

    Attributes:
        base: Store of the unmodified recipe.
        by_settings: Feature settings as JSON → store; includes `base`.
    """

    base: Store
    by_settings: Mapping[str, Store]

    @classmethod
    def from_store(cls, recipe: Recipe, store: Store) -> "FeatureStores":
        """Build the stores of a sweep with a single feature store."""
        return cls(store, {_serialize_features(recipe): store})

    def get_store(self, recipe: Recipe) -> Store:
        """Return the store with the features of a trial's recipe."""
        return self.by_settings[_serialize_features(recipe)]

    @property
    def fingerprints(self) -> list[str]:
        """Fingerprints of all stores, sorted and without duplicates."""
        return sorted({store.fingerprint for store in self.by_settings.values()})


def extract_all_features(
    space: SearchSpace, recipe: Recipe, extract: Callable[[Recipe], Store]
) -> FeatureStores:
    """Extract the features of every combination of searched feature settings.

    Args:
        space: Search space; its parameters under `features.` have `choices`.
        recipe: Recipe that the sweep tunes.
        extract: Function that extracts the features of a recipe, unless they exist already.

    Raises:
        StoreError: If stores differ in their validation or test clips.
    """
    base = extract(recipe)
    by_settings = {_serialize_features(recipe): base}
    for variant in _iter_recipe_variants(space, recipe):
        # Different values can lead to equal feature settings.
        if _serialize_features(variant) not in by_settings:
            by_settings[_serialize_features(variant)] = extract(variant)
    # Compared on the clips within the recipe's limits, because only these are scored.
    for key, store in by_settings.items():
        for split in _COMPARED_SPLITS:
            diff = _get_scored_clip_ids(base, split, recipe) ^ _get_scored_clip_ids(
                store, split, recipe
            )
            if diff:
                raise StoreError(
                    f"features {key} and the recipe's features have different clips in {split}:"
                    f" {len(diff)} are in only one of them, such as `{min(diff)}`. Scores would"
                    " not cover the same sentences; remove these clips from the corpus"
                )
    return FeatureStores(base, by_settings)


def _iter_recipe_variants(space: SearchSpace, recipe: Recipe) -> Iterator[Recipe]:
    """Yield the recipe with every valid combination of searched features."""
    names = [name for name in space.parameters if name.startswith(FEATURES_PREFIX)]
    for values in product(*(space.parameters[name].choices or () for name in names)):
        try:
            yield apply_overrides(recipe, dict(zip(names, values, strict=True)))
        except ConfigError:
            continue  # conditions exclude this combination, so no trial uses it


def _serialize_features(recipe: Recipe) -> str:
    """Return the feature settings of a recipe as JSON."""
    return recipe.features.model_dump_json()


def _get_scored_clip_ids(store: Store, split: str, recipe: Recipe) -> set[str]:
    """Return the ids of the scored clips of a split; length limits depend on the features."""
    if split not in store.splits:
        return set()
    return {
        record.clip.id
        for record in filter_clips_by_length(
            store.get_records(split), recipe.effective_batch, split
        )[0]
    }
