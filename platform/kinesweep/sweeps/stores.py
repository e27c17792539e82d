"""The feature stores of a sweep: one for each combination of searched `features` keys.

Most sweeps have one. Where features are searched (a pose estimator, a choice of points), every
combination is extracted once, before the first trial, and a trial finds its own here. All have the
same clips in validation and test, so that scores compare the same sentences.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from kinesweep.batches.limits import within
from kinesweep.core.errors import ConfigError, StoreError
from kinesweep.core.recipe import Recipe
from kinesweep.store import Store
from kinesweep.sweeps.loading import FEATURES, apply
from kinesweep.sweeps.space import SearchSpace

_COMPARED = ("validation", "test")


@dataclass(frozen=True)
class Stores:
    """Feature stores by what was computed.

    Attributes:
        base: of the recipe as it is.
        others: features part of a recipe, as JSON → its store, the recipe's own among them.
    """

    base: Store
    others: Mapping[str, Store]

    @classmethod
    def one(cls, recipe: Recipe, store: Store) -> "Stores":
        """Those of a sweep that searches no features."""
        return cls(store, {_key(recipe): store})

    def of(self, recipe: Recipe) -> Store:
        """The store of a trial's recipe."""
        return self.others[_key(recipe)]

    @property
    def fingerprints(self) -> list[str]:
        """Of all, sorted."""
        return sorted({store.fingerprint for store in self.others.values()})


def extract_all(space: SearchSpace, recipe: Recipe, extract: Callable[[Recipe], Store]) -> Stores:
    """Extracts whatever features a space may ask for.

    Args:
        space: its parameters below `features.` have choices.
        recipe: of whom it asks.
        extract: one recipe's features; quick where they are extracted.

    Raises:
        StoreError: validation or test differ in their clips.
    """
    base = extract(recipe)
    others = {_key(recipe): base}
    for other in _variants(space, recipe):
        if _key(other) not in others:
            others[_key(other)] = extract(other)
    for key, store in others.items():
        for split in _COMPARED:
            apart = _clips(base, split, recipe) ^ _clips(store, split, recipe)
            if apart:
                raise StoreError(
                    f"features {key} have other clips in {split} than the recipe's:"
                    f" {len(apart)} are in one of both alone, such as `{min(apart)}`. Scores would"
                    " not be of the same sentences; take these clips out of the corpus"
                )
    return Stores(base, others)


def _variants(space: SearchSpace, recipe: Recipe) -> Iterator[Recipe]:
    """The recipe with every combination of the features that are searched."""
    names = [name for name in space.parameters if name.startswith(FEATURES)]
    for values in product(*(space.parameters[name].choices or () for name in names)):
        try:
            yield apply(recipe, dict(zip(names, values, strict=True)))
        except ConfigError:
            continue  # a combination that no trial has; conditions leave it out


def _key(recipe: Recipe) -> str:
    return recipe.features.model_dump_json()


def _clips(store: Store, split: str, recipe: Recipe) -> set[str]:
    """What is scored of a split; limits count the frames that features have."""
    if split not in store.splits:
        return set()
    return {record.clip.id for record in within(store.records(split), recipe.taken_batch, split)[0]}
