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
from kinesweep.data.length_limits import filter_by_length
from kinesweep.store import Store
from kinesweep.sweeps.space.loading import FEATURES, apply_overrides
from kinesweep.sweeps.space.space import SearchSpace

_COMPARED = ("validation", "test")


@dataclass(frozen=True)
class Stores:
    """Feature stores by the feature settings they were computed with.

    Attributes:
        base: Store of the unmodified recipe.
        others: Feature settings as JSON → store; includes `base`.
    """

    base: Store
    others: Mapping[str, Store]

    @classmethod
    def one(cls, recipe: Recipe, store: Store) -> "Stores":
        """Create the stores of a sweep that does not search features."""
        return cls(store, {_key(recipe): store})

    def of(self, recipe: Recipe) -> Store:
        """Return the store of a trial's recipe."""
        return self.others[_key(recipe)]

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of all stores, sorted and without duplicates."""
        return sorted({store.fingerprint for store in self.others.values()})


def extract_all(space: SearchSpace, recipe: Recipe, extract: Callable[[Recipe], Store]) -> Stores:
    """Extract all features that a space may use.

    Args:
        space: Search space; its parameters under `features.` have `choices`.
        recipe: Recipe that the sweep tunes.
        extract: Function that extracts the features of a recipe; fast if they exist.

    Raises:
        StoreError: If stores differ in their validation or test clips.
    """
    base = extract(recipe)
    others = {_key(recipe): base}
    for other in _variants(space, recipe):
        # Different values can lead to equal feature settings.
        if _key(other) not in others:
            others[_key(other)] = extract(other)
    # Compared on the clips within the recipe's limits, because only these are scored.
    for key, store in others.items():
        for split in _COMPARED:
            apart = _clips(base, split, recipe) ^ _clips(store, split, recipe)
            if apart:
                raise StoreError(
                    f"features {key} and the recipe's features have different clips in {split}:"
                    f" {len(apart)} are in only one of them, such as `{min(apart)}`. Scores would"
                    " not cover the same sentences; remove these clips from the corpus"
                )
    return Stores(base, others)


def _variants(space: SearchSpace, recipe: Recipe) -> Iterator[Recipe]:
    """Yield the recipe with every valid combination of searched features."""
    names = [name for name in space.parameters if name.startswith(FEATURES)]
    for values in product(*(space.parameters[name].choices or () for name in names)):
        try:
            yield apply_overrides(recipe, dict(zip(names, values, strict=True)))
        except ConfigError:
            continue  # conditions exclude this combination, so no trial uses it


def _key(recipe: Recipe) -> str:
    """Return the feature settings of a recipe as JSON."""
    return recipe.features.model_dump_json()


def _clips(store: Store, split: str, recipe: Recipe) -> set[str]:
    """Return the ids of the clips that are scored; length limits depend on the features."""
    if split not in store.splits:
        return set()
    return {
        record.clip.id
        for record in filter_by_length(store.records(split), recipe.effective_batch, split)[0]
    }
