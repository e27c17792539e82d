"""Features that a training clip has several times, one variant for each epoch of training.

Each variant is extracted as if the recipe had no other, so it is found by its own fingerprint: with
more epochs, only the new ones are computed, and an interrupted extraction continues after the last
epoch that is complete. Splits other than train have one variant, which is not augmented.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import PartialStoreConfig, StoreConfig
from kinesweep.config.recipe.source import (
    CorporaConfig,
    FeatureManifestConfig,
    ManifestEpochConfig,
    SingleSourceConfig,
)
from kinesweep.config.recipe.video import VideoEpochConfig, VideoFeaturesConfig
from kinesweep.core.clip import SPLITS


@dataclass(frozen=True)
class EpochRecipe:
    """The recipe of one part of a corpus with several variants of its training clips.

    Attributes:
        epoch: Index of the variant of the training clips; None for the splits that have only one.
        recipe: Recipe whose corpus and features are those of the part.
    """

    epoch: int | None
    recipe: Recipe


def list_epoch_recipes(recipe: Recipe) -> tuple[EpochRecipe, ...]:
    """List the recipes of the parts of a corpus whose training clips vary between epochs.

    The splits that do not vary come first, then the epochs in their order. The result is empty if
    no clip varies, and for several parts of features, each of which has epochs of its own.
    """
    if isinstance(recipe.features, VideoFeaturesConfig):
        return _list_video_epochs(recipe, recipe.features)
    # Corpora with different numbers repeat their variants until all start again together.
    num_epochs = math.lcm(*(_count_variants(corpus) for corpus in recipe.corpora))
    # One variant needs no joining, and keeps the fingerprint of a plain store.
    if num_epochs == 1:
        return ()
    held_out = {"source": _select_variants(recipe.source, 0)}
    updates = [{"source": _select_variants(recipe.source, epoch)} for epoch in range(num_epochs)]
    return _make_parts(recipe, held_out, updates)


def list_part_recipes(recipe: Recipe) -> tuple[Recipe, ...]:
    """List the recipes whose stores make up the store of a recipe; empty if it has one store.

    They are those of the parts of features, or else of the epochs.
    """
    if recipe.part_recipes:
        return tuple(part_recipe for _, part_recipe in recipe.part_recipes)
    return tuple(part.recipe for part in list_epoch_recipes(recipe))


def _list_video_epochs(recipe: Recipe, features: VideoFeaturesConfig) -> tuple[EpochRecipe, ...]:
    """List the parts of a corpus of videos; empty without augmentation or a split to augment."""
    is_single = features.augmentation is None or isinstance(features, VideoEpochConfig)
    # A `VideoEpochConfig` is a part itself: it would otherwise be split into parts again.
    if is_single or not any("train" in corpus.splits for corpus in recipe.corpora):
        return ()
    values = {name: getattr(features, name) for name in VideoFeaturesConfig.model_fields}
    # Without the keys of augmentation, so that its store is shared with recipes that have none.
    plain = VideoFeaturesConfig.model_construct(**{**values, "augmentation": None, "epochs": 1})
    updates = [
        {"features": VideoEpochConfig.model_construct(**values, epoch=epoch)}
        for epoch in range(features.epochs)
    ]
    return _make_parts(recipe, {"features": plain}, updates)


def _make_parts(
    recipe: Recipe, held_out: Mapping[str, Any], updates: Sequence[Mapping[str, Any]]
) -> tuple[EpochRecipe, ...]:
    """Make the recipes of all parts, which are not validated again.

    Args:
        recipe: Recipe with all variants.
        held_out: Sections of the recipe of the splits that do not vary.
        updates: Sections of the recipe of each variant of the training clips.
    """
    splits = {split for corpus in recipe.corpora for split in corpus.splits}
    others = tuple(split for split in SPLITS if split in splits - {"train"})
    # The whole source stays, because the id of a clip may depend on the clips of other splits.
    parts = [EpochRecipe(None, _change(recipe, others, held_out))] if others else []
    parts += [
        EpochRecipe(epoch, _change(recipe, ("train",), update))
        for epoch, update in enumerate(updates)
    ]
    return tuple(parts)


def _change(recipe: Recipe, splits: tuple[str, ...], update: Mapping[str, Any]) -> Recipe:
    """Return a recipe with changed sections whose store has only some splits."""
    values = {name: getattr(recipe.store, name) for name in StoreConfig.model_fields}
    # The limits apply to all splits together, so they are checked where the parts are joined.
    values |= {"max_dropped_share": 1.0, "required_splits": (), "splits": splits}
    store = PartialStoreConfig.model_construct(**values)
    return recipe.model_copy(update={"store": store, **update})


def _count_variants(corpus: SingleSourceConfig) -> int:
    """Count the variants of the training clips of a corpus."""
    if isinstance(corpus, FeatureManifestConfig) and corpus.epochs_as == "variants":
        return len(corpus.epochs) if corpus.train is not None else 1
    return 1


def _select_variants(source: Any, epoch: int) -> Any:
    """Return a source whose training clips are one of their variants.

    Args:
        source: Source of the corpus, or a list of corpora.
        epoch: Index of the variant; a corpus with fewer variants repeats them in turn.
    """
    if isinstance(source, CorporaConfig):
        corpora = tuple(_select_variants(corpus, epoch) for corpus in source.corpora)
        return source.model_copy(update={"corpora": corpora})
    if not isinstance(source, FeatureManifestConfig) or source.epochs_as != "variants":
        return source
    values = {name: getattr(source, name) for name in FeatureManifestConfig.model_fields}
    # A corpus with fewer variants starts again while others go on.
    variant = epoch % len(source.epochs)
    values |= {"epochs": (source.epochs[variant],), "epochs_as": "clips"}
    # A manifest states the lengths of the first variant; those of others cannot be checked by it.
    config_class = ManifestEpochConfig if variant else FeatureManifestConfig
    # Not validated: the values come from a valid section, and paths must not be checked again.
    return config_class.model_construct(**values)
