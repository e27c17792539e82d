"""Sources: readers that turn external corpus formats into clips.

Each format has one module. `build_source` selects the reader by `config.kind` from the table at the
end of this file.
"""

from collections.abc import Callable, Mapping

from kinesweep.config.parts import SourcePart
from kinesweep.config.recipe.h5_shards import H5ShardsConfig
from kinesweep.config.recipe.source import CorporaConfig, FeatureManifestConfig, SourceConfig
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.config.recipe.sources.image_tsv import ImageTsvConfig
from kinesweep.sources.base import Source
from kinesweep.sources.combined import CombinedSource
from kinesweep.sources.part_source import build_source_part
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.sources.video.video_tsv import VideoTsvSource
from kinesweep.sources.written.text_tsv import TextTsvSource

__all__ = ["Source", "build_source", "read_pose"]


def build_source(config: SourceConfig) -> Source:
    """Build the source that reads the corpus of a recipe, selected by `config.kind`.

    Several corpora become one `CombinedSource`. No file is opened. Relative paths are resolved
    against the current folder at this moment.
    """
    if isinstance(config, CorporaConfig):
        return CombinedSource({str(corpus.name): build_source(corpus) for corpus in config.corpora})
    if isinstance(config, SourcePart):
        return build_source_part(config)
    return _SOURCE_BUILDERS[config.kind](config)


def _build_feature_manifest_source(config: FeatureManifestConfig) -> Source:
    """Build a `FeatureManifestSource`, whose module is imported only when this is called."""
    # Imported on first use: only corpora of precomputed features need it.
    from kinesweep.sources.precomputed.feature_manifest import FeatureManifestSource

    return FeatureManifestSource(config)


def _build_feature_tsv_source(config: FeatureTsvConfig) -> Source:
    """Build a `FeatureTsvSource`, whose module is imported only when this is called."""
    from kinesweep.sources.precomputed.feature_tsv import FeatureTsvSource

    return FeatureTsvSource(config)


def _build_image_tsv_source(config: ImageTsvConfig) -> Source:
    """Build an `ImageTsvSource`, whose module is imported only when this is called."""
    # Imported on first use: other sources need no image library.
    from kinesweep.sources.images.image_tsv import ImageTsvSource

    return ImageTsvSource(config)


def _build_h5_shards_source(config: H5ShardsConfig) -> Source:
    """Build an `H5ShardsSource`, whose module is imported only when this is called."""
    # Imported on first use: other sources must not load HDF5.
    from kinesweep.sources.precomputed.h5_shards import H5ShardsSource

    return H5ShardsSource(config)


_SOURCE_BUILDERS: Mapping[str, Callable[..., Source]] = {
    "pose_tsv": PoseTsvSource,
    "video_tsv": VideoTsvSource,
    "feature_manifest": _build_feature_manifest_source,
    "feature_tsv": _build_feature_tsv_source,
    "image_tsv": _build_image_tsv_source,
    "text_tsv": TextTsvSource,
    "signwriting_tsv": TextTsvSource,
    "h5_shards": _build_h5_shards_source,
    "skeletons": SkeletonsSource,
}
