"""The kinds of features that can be extracted from each kind of source."""

from kinesweep.config.parts import FeaturesPart, SourcePart
from kinesweep.config.recipe.source import FeaturesConfig, SingleSourceConfig

FEATURES_KINDS_BY_SOURCE_KIND: dict[str, tuple[str, ...]] = {
    "pose_tsv": ("pose",),
    "video_tsv": ("video", "frames"),
    "feature_manifest": ("precomputed",),
    "feature_tsv": ("precomputed",),
    "image_tsv": ("images",),
    "signwriting_tsv": ("text", "images"),
    "text_tsv": ("text", "images"),
    "h5_shards": ("streams",),
    "skeletons": ("skeleton",),
}
"""Kind of source → our kinds of features that can be extracted from it."""


def get_features_kinds(source: SingleSourceConfig) -> tuple[str, ...]:
    """Return the kinds of features that can be extracted from a source.

    Those of a source of another package are the ones that its settings name.
    """
    if isinstance(source, SourcePart):
        return source.features_kinds
    return FEATURES_KINDS_BY_SOURCE_KIND[source.kind]


def can_extract(source: SingleSourceConfig, features: FeaturesConfig) -> bool:
    """Return whether features can be extracted from a source, according to either of them.

    Args:
        source: Section of the source, which may name kinds of features.
        features: Section of the features, which may name kinds of sources.
    """
    is_for_source = isinstance(features, FeaturesPart) and source.kind in features.source_kinds
    return is_for_source or features.kind in get_features_kinds(source)
