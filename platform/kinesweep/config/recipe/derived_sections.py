"""Sections of a recipe as a run uses them, computed from what the recipe states.

The recipe states everything once; which streams are selected, the training stage and the pose
estimator then change other sections. `Recipe` offers the results as properties.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kinesweep.config.recipe.data import BatchConfig, EffectiveBatchConfig, StoreConfig
from kinesweep.config.recipe.features.combined import CombinedFeaturesConfig, RecipeFeaturesConfig
from kinesweep.config.recipe.h5_shards import H5ShardsConfig, StreamsFeaturesConfig
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.vision_checks import list_frame_streams
from kinesweep.config.recipe.source import (
    ESTIMATOR_PLACEHOLDER,
    CorporaConfig,
    SingleSourceConfig,
    SourceConfig,
)
from kinesweep.config.recipe.sources.part_sources import derive_part_source

_PRECOMPUTED_KINDS = ("precomputed", "streams")


def get_selected_streams(features: RecipeFeaturesConfig) -> tuple[str, ...]:
    """Return the streams that `features.streams` selects; empty for features without this key."""
    if isinstance(features, StreamsFeaturesConfig | CombinedFeaturesConfig):
        return features.streams
    return ()


def find_unselected_streams(
    corpora: Sequence[SingleSourceConfig], features: RecipeFeaturesConfig
) -> set[str]:
    """Return the streams of the corpora or parts that `features.streams` does not select."""
    if isinstance(features, CombinedFeaturesConfig):
        return set(features.stream_names) - set(features.streams)
    shard_corpora = [corpus for corpus in corpora if isinstance(corpus, H5ShardsConfig)]
    names = {name for corpus in shard_corpora for name in corpus.stream_names}
    return names - set(get_selected_streams(features))


def derive_batch(
    batch: BatchConfig, motion_stream_by_reference: Mapping[str, str], unselected: Collection[str]
) -> EffectiveBatchConfig:
    """Return the section `batch` as a run uses it; see `Recipe.effective_batch`.

    Args:
        batch: Section of the recipe.
        motion_stream_by_reference: Reference stream → the motion stream that it is aligned with.
        unselected: Streams that are not selected.
    """
    frame_limits = exclude_streams(batch.truncate_frames, unselected)
    # The right operand of `|` wins, so a reference's own limit precedes that of its motion.
    frame_limits = {
        reference_stream: frame_limits[motion_stream]
        for reference_stream, motion_stream in motion_stream_by_reference.items()
        if motion_stream in frame_limits
    } | frame_limits
    settings = {name: getattr(batch, name) for name in BatchConfig.model_fields}
    settings |= {
        "truncate_frames": frame_limits,
        "reference_streams": tuple(motion_stream_by_reference),
    }
    # The values come from a validated section, so they are not validated again.
    return EffectiveBatchConfig.model_construct(**settings)


def derive_model(
    model: ModelConfig, features: RecipeFeaturesConfig, stage: str, unselected: Collection[str]
) -> ModelConfig:
    """Return the section `model` as the training stage uses it; see `Recipe.effective_model`.

    Args:
        model: Section of the recipe.
        features: Section `features` of the recipe.
        stage: Training stage.
        unselected: Streams that are not selected.
    """
    model = model.exclude_streams(unselected, list_frame_streams(features))
    # The recipe keeps the adapters for the later stage; this stage trains without them.
    return model.restrict_to_encoders() if stage == "projectors" else model


def derive_required_splits(store: StoreConfig, features: RecipeFeaturesConfig) -> tuple[str, ...]:
    """Return the splits of which no listed clip may be dropped; see `Recipe.required_splits`."""
    kinds = features.kinds if isinstance(features, CombinedFeaturesConfig) else (features.kind,)
    default_splits = ("validation",) if set(kinds) & set(_PRECOMPUTED_KINDS) else ()
    return default_splits if store.required_splits is None else store.required_splits


def derive_source(source: SourceConfig, features: RecipeFeaturesConfig) -> SourceConfig:
    """Return the source as adapted to `features`; see `Recipe.effective_source`."""
    if isinstance(features, CombinedFeaturesConfig):
        return _list_clips_of_parts(source, features)
    if isinstance(source, CorporaConfig):
        corpora = tuple(_adapt_corpus(corpus, features) for corpus in source.corpora)
        return source.model_copy(update={"corpora": corpora})
    return _adapt_corpus(source, features)


def _list_clips_of_parts(source: SourceConfig, features: CombinedFeaturesConfig) -> SourceConfig:
    """Return a source that lists the clips of combined features, each corpus as a part reads it.

    Of several parts, the first that provides a corpus counts; parts with an own source follow.
    """
    parts = sorted(features.parts, key=lambda part: part.source is not None)
    if not isinstance(source, CorporaConfig):
        return derive_source(derive_part_source(source, features, parts[0]), parts[0].features)
    corpora: dict[str, SingleSourceConfig] = {}
    for part in parts:
        part_source = derive_source(derive_part_source(source, features, part), part.features)
        for corpus in part_source.corpora if isinstance(part_source, CorporaConfig) else ():
            corpora.setdefault(str(corpus.name), corpus)
    listed = [corpora[str(corpus.name)] for corpus in source.corpora if corpus.name in corpora]
    # Not validated, because derived corpora may have settings that a person may not combine.
    return CorporaConfig.model_construct(kind="corpora", corpora=tuple(listed))


def _adapt_corpus(corpus: SingleSourceConfig, features: RecipeFeaturesConfig) -> SingleSourceConfig:
    """Return a corpus config as adapted to the `features` section.

    HDF5 shards keep only the selected streams; in the `root` of other corpora, `{estimator}` is
    replaced by the name of the pose estimator.
    """
    if isinstance(corpus, H5ShardsConfig):
        return corpus.select_streams(get_selected_streams(features))
    # Only corpora with media files have a root, and only pose features have an estimator.
    root, estimator = getattr(corpus, "root", None), getattr(features, "estimator", None)
    if root is None:
        return corpus
    return corpus.model_copy(update={"root": root.replace(ESTIMATOR_PLACEHOLDER, estimator or "")})


def exclude_streams(by_stream: Mapping[str, Any], excluded: Collection[str]) -> dict[str, Any]:
    """Return a copy of a mapping by stream name without the entries of the excluded streams."""
    return {name: value for name, value in by_stream.items() if name not in excluded}


def remove_unselected_settings(values: dict[str, Any], unselected: Collection[str]) -> None:
    """Remove the settings of streams that are not selected from a recipe's plain values, in place.

    A recipe of which a stream is left out then has the same hash as one that never had it.
    """
    values["batch"]["truncate_frames"] = exclude_streams(
        values["batch"]["truncate_frames"], unselected
    )
    values["model"]["encoders"] = exclude_streams(values["model"]["encoders"], unselected)
