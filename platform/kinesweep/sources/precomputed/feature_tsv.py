"""A corpus of feature files that are listed in one TSV per split.

The tables are those of MultimodalHugs for features to text: the columns of `tsv_rows`, where a
signal is the path of an `.npy`, `.npz` or `.pt` file.
"""

from dataclasses import replace
from typing import Any

from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.sources.base import PrecomputedFeatures
from kinesweep.sources.precomputed.feature_files import read_feature_file
from kinesweep.sources.tsv.media_names import MediaKind
from kinesweep.sources.tsv.media_tsv import MediaTsvSource


class FeatureTsvSource(MediaTsvSource):
    """A source of feature files (`feature_tsv`).

    Args:
        config: Tables and root folder; relative paths are resolved against the current folder at
            construction.
    """

    def __init__(self, config: FeatureTsvConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def media_kind(self) -> MediaKind:
        """Return `features`."""
        return "features"

    def get_read_options(self) -> dict[str, Any]:
        """Return the kind of the source, the feature rate and the axis of time."""
        config = self.config
        return {"source": config.kind, "rate_hz": config.fps, "time_axis": config.time_axis}

    def read_duration_s(self, clip: Clip) -> float:
        """Return the duration of a clip's whole file in seconds.

        Raises:
            ClipError: If the file cannot be read.
        """
        # Without its span, which may be the one that is in doubt.
        features = self.read(replace(clip, span=Span()))
        return len(features.x_TD) / features.rate_hz

    def read(self, clip: Clip) -> PrecomputedFeatures:
        """Read the features in the clip's span of its file.

        Raises:
            ClipError: With a reason of `resolve_media_path` or `read_feature_file`; the message
                begins with the clip's row.
        """
        path = self.resolve_media_path(clip)
        try:
            return read_feature_file(path, clip.span, self.config.fps, self.config.time_axis)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None
