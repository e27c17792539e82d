"""Outside formats become clips: one module a format, chosen by `kind` from the table below."""

from collections.abc import Callable, Mapping
from typing import Any

from kinesweep.core.recipe.source import CorporaConfig, SourceConfig
from kinesweep.sources.contract import Source
from kinesweep.sources.joined import JoinedSource
from kinesweep.sources.pose_file import read_pose
from kinesweep.sources.pose_tsv import PoseTsvSource
from kinesweep.sources.skeletons import SkeletonsSource
from kinesweep.sources.video_tsv import VideoTsvSource

__all__ = ["Source", "build_source", "read_pose"]


def build_source(config: SourceConfig) -> Source:
    """The source that `config.kind` names. Opens nothing; relative paths become absolute here."""
    if isinstance(config, CorporaConfig):
        return JoinedSource({str(corpus.name): build_source(corpus) for corpus in config.corpora})
    return _SOURCES[config.kind](config)


def _manifest(config: Any) -> Source:
    from kinesweep.sources.feature_manifest import FeatureManifestSource  # torch: seconds

    return FeatureManifestSource(config)


def _shards(config: Any) -> Source:
    from kinesweep.sources.h5_shards import H5ShardsSource  # HDF5: only where it is needed

    return H5ShardsSource(config)


_SOURCES: Mapping[str, Callable[..., Source]] = {
    "pose_tsv": PoseTsvSource,
    "video_tsv": VideoTsvSource,
    "feature_manifest": _manifest,
    "h5_shards": _shards,
    "skeletons": SkeletonsSource,
}
