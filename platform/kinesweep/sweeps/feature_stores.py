"""The feature stores of a sweep: one for each combination of searched `features` keys.

Most sweeps have one store. If features are searched, such as a pose estimator or a selection of
keypoints, all combinations are extracted before the first trial, and each trial looks up its own
store. All stores must have the same scored validation and test clips, so that scores compare the
same sentences.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.config.recipe.features.combined import RecipeFeaturesConfig
from kinesweep.core.errors import ConfigError, StoreError
from kinesweep.store import Store
from kinesweep.sweeps.run_kinds import list_scored_clips
from kinesweep.sweeps.space.loading import FEATURES_PREFIX, apply_overrides
from kinesweep.sweeps.space.parameter import Values
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
    def from_store(cls, features: RecipeFeaturesConfig, store: Store) -> "FeatureStores":
        """Build the stores of a sweep with a single feature store.

        Args:
            features: Feature settings with which the store was extracted.
            store: Feature store.
        """
        return cls(store, {_serialize_features(features): store})

    def get_store(self, features: RecipeFeaturesConfig) -> Store:
        """Return the store that was extracted with the given feature settings.

        Raises:
            KeyError: If no features were extracted with these settings.
        """
        return self.by_settings[_serialize_features(features)]

    @property
    def fingerprints(self) -> list[str]:
        """Fingerprints of all stores, sorted and without duplicates."""
        return sorted({store.fingerprint for store in self.by_settings.values()})


def extract_all_features(
    space: SearchSpace, recipe: AnyRecipe, extract: Callable[[AnyRecipe], Store]
) -> FeatureStores:
    """Extract the features of the recipe and of every combination of searched `features` keys.

    The clips of the stores are compared. Combinations that the recipe does not allow are left out.

    Args:
        space: Search space; its parameters under `features.` have `choices`.
        recipe: Recipe that the sweep tunes.
        extract: Function that extracts the features of a recipe, unless they exist already.

    Raises:
        StoreError: If stores differ in the validation or test clips within the length limits.
        InputError: If no clip of these splits is within the recipe's length limits.
    """
    base = extract(recipe)
    by_settings = {_serialize_features(recipe.features): base}
    # Limits of streams that a combination does not select do not apply to its store.
    variants = {_serialize_features(recipe.features): recipe}
    for values in _iter_feature_values(space):
        try:
            variant = apply_overrides(recipe, values)
        except ConfigError:
            continue  # conditions exclude this combination, so no trial uses it
        settings = _serialize_features(variant.features)
        # Different values can lead to equal feature settings.
        if settings not in by_settings:
            by_settings[settings] = extract(variant)
            variants[settings] = variant
    # Compared on the clips within the recipe's limits, because only these are scored.
    for settings, store in by_settings.items():
        for split in _COMPARED_SPLITS:
            base_ids = list_scored_clips(base, split, recipe)
            unshared_ids = base_ids ^ list_scored_clips(store, split, variants[settings])
            if unshared_ids:
                raise StoreError(
                    f"features {settings} and the recipe's features have different clips in"
                    f" {split}: {len(unshared_ids)} are in only one of them, such as"
                    f" `{min(unshared_ids)}`. Scores would"
                    " not cover the same sentences; remove these clips from the corpus"
                )
    return FeatureStores(base, by_settings)


def _iter_feature_values(space: SearchSpace) -> Iterator[Values]:
    """Yield every combination of the choices of all parameters under `features.`.

    Some combinations may be invalid, because the conditions of parameters are not considered.
    """
    names = [name for name in space.parameters if name.startswith(FEATURES_PREFIX)]
    for choices in product(*(space.parameters[name].choices or () for name in names)):
        yield dict(zip(names, choices, strict=True))


def _serialize_features(features: RecipeFeaturesConfig) -> str:
    """Return feature settings as JSON, the key of their store in `FeatureStores.by_settings`."""
    return features.model_dump_json()
