"""Features that a training clip has several times, one variant for each epoch of training.

Each variant is extracted as if the recipe had no other, so it is found by its own fingerprint: with
more epochs, only the new ones are computed, and an interrupted extraction continues after the last
epoch that is complete. Splits other than train have one variant, which is not augmented.
"""

import math
from dataclasses import dataclass
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import (
    CorporaConfig,
    FeatureManifestConfig,
    ManifestEpochConfig,
    SingleSourceConfig,
    SourceConfig,
)
from kinesweep.config.recipe.video import VideoEpochConfig, VideoFeaturesConfig
from kinesweep.core.clip import SPLITS

_TRAIN = ("train",)
_HELD_OUT = tuple(split for split in SPLITS if split not in _TRAIN)


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
    if num_epochs == 1:
        return ()
    sources = [_select_variants(recipe.source, epoch) for epoch in range(num_epochs)]
    return (
        *_make_held_out(recipe, {}),
        *(
            EpochRecipe(epoch, _change(recipe, _select_splits(source, _TRAIN), {}))
            for epoch, source in enumerate(sources)
        ),
    )


def list_part_recipes(recipe: Recipe) -> tuple[Recipe, ...]:
    """List the recipes whose stores make up the store of a recipe; empty if it has one store.

    They are those of the parts of features, or else of the epochs.
    """
    if recipe.part_recipes:
        return tuple(part_recipe for _, part_recipe in recipe.part_recipes)
    return tuple(part.recipe for part in list_epoch_recipes(recipe))


def _list_video_epochs(recipe: Recipe, features: VideoFeaturesConfig) -> tuple[EpochRecipe, ...]:
    """List the parts of a corpus of videos; empty without augmentation."""
    train = _select_splits(recipe.source, _TRAIN)
    # Features of one epoch are those of a single extraction, also of their own.
    if features.augmentation is None or isinstance(features, VideoEpochConfig) or train is None:
        return ()
    values = {name: getattr(features, name) for name in VideoFeaturesConfig.model_fields}
    plain = VideoFeaturesConfig.model_construct(**{**values, "augmentation": None, "epochs": 1})
    return (
        *_make_held_out(recipe, {"features": plain}),
        *(
            EpochRecipe(
                epoch,
                _change(
                    recipe,
                    train,
                    {"features": VideoEpochConfig.model_construct(**values, epoch=epoch)},
                ),
            )
            for epoch in range(features.epochs)
        ),
    )


def _make_held_out(recipe: Recipe, update: dict[str, Any]) -> tuple[EpochRecipe, ...]:
    """Make the part of the splits other than train; there is none without such splits."""
    source = _select_splits(recipe.source, _HELD_OUT)
    if source is None:
        return ()
    return (EpochRecipe(None, _change(recipe, _select_variants(source, 0), update)),)


def _change(recipe: Recipe, source: SourceConfig | None, update: dict[str, Any]) -> Recipe:
    """Return a recipe with another source and other values, without validating it again."""
    assert source is not None
    # The limits apply to all splits together, so they are checked where the parts are joined.
    store = recipe.store.model_copy(update={"max_dropped_share": 1.0, "required_splits": ()})
    return recipe.model_copy(update={"source": source, "store": store, **update})


def _select_splits(source: SourceConfig, splits: tuple[str, ...]) -> SourceConfig | None:
    """Return a source with some of its splits; None if it has none of them."""
    if not isinstance(source, CorporaConfig):
        others: dict[str, Any] = {split: None for split in SPLITS if split not in splits}
        return source.model_copy(update=others) if set(splits) & source.splits.keys() else None
    corpora = [_select_splits(corpus, splits) for corpus in source.corpora]
    kept = tuple(corpus for corpus in corpora if corpus is not None)
    return source.model_copy(update={"corpora": kept}) if kept else None


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
    variant = epoch % len(source.epochs)
    values |= {"epochs": (source.epochs[variant],), "epochs_as": "clips"}
    config_class = ManifestEpochConfig if variant else FeatureManifestConfig
    return config_class.model_construct(**values)
