"""The computation of one clip: read its media, compute its features, round them; no writing.

An extraction and a check of a corpus both pass every clip through this module, so that what passes
the check can be extracted. A clip that cannot be used raises a `ClipError`, whose reason is the key
under which it is counted. Shapes: T frames, D width.
"""

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.video_files import VideoSegment
from kinesweep.core.vocabulary import TokenVocabulary
from kinesweep.features.contract import Features, FeatureStep
from kinesweep.features.quality.media_statistics import MediaStatistics, compute_media_statistics
from kinesweep.sources.base import Source
from kinesweep.store.format.dtype import round_to_store_dtype

StoredStreams = dict[str, NDArray[Any]]
"""Stream → (T, D) array in the stored dtype."""


@dataclass(frozen=True)
class StreamStatus:
    """The shape, rate and layout of one stored stream of a clip.

    Attributes:
        num_frames: Number of frames, T.
        width: Values per frame, D.
        rate_hz: Frames per second.
        layout: Points to which the values of a frame belong; None if the stream has no points.
        has_mask: Whether each point has its detection mask as a further value.
        frame_size: Side of a square RGB frame in pixels if the values are its pixels.
        reads_video: Whether the pixels are not stored, but decoded when they are read.
        vocabulary: Vocabulary of the stream if its values are token ids.
    """

    num_frames: int
    width: int
    rate_hz: float
    layout: PointLayout | None = None
    has_mask: bool = False
    frame_size: int | None = None
    reads_video: bool = False
    vocabulary: TokenVocabulary | None = None


@dataclass(frozen=True)
class ComputedFeatures:
    """The features of a clip before they are rounded.

    Attributes:
        streams: Stream → features.
        statistics: Statistics of the clip's media; None for media without points.
    """

    streams: dict[str, Features]
    statistics: MediaStatistics | None = None


@dataclass(frozen=True)
class ProcessedClip:
    """A clip that can be stored.

    Attributes:
        features: Stream → features in the stored dtype, in the order of the feature step.
        streams: Stream → shape, rate and layout.
        statistics: Statistics of the clip's media; None for media without points.
    """

    features: StoredStreams
    streams: dict[str, StreamStatus]
    statistics: MediaStatistics | None


@dataclass(frozen=True)
class ClipProcessor:
    """A function that computes what a store keeps of a clip; it can be pickled.

    Attributes:
        source: Corpus from which media are read.
        step: Feature step that computes the streams.
        dtype: Stored dtype, `float16` or `float32`.
    """

    source: Source
    step: FeatureStep
    dtype: str

    def __call__(self, clip: Clip) -> ProcessedClip:
        """Read a clip, compute its features and round them.

        Raises:
            ClipError: If the clip cannot be used.
        """
        return self.round_features(self.compute_features(clip))

    def compute_features(self, clip: Clip) -> ComputedFeatures:
        """Read a clip and compute its features and the statistics of its media.

        Raises:
            ClipError: If the clip cannot be used; its reason is the key under which the clip is
                counted.
        """
        media = self.read_media(clip)
        # Before the features, which may change the arrays of the media in place.
        statistics = compute_media_statistics(media)
        return ComputedFeatures(self.step.compute_features(media), statistics)

    def read_media(self, clip: Clip) -> Any:
        """Read the media of a clip; a video, which is not opened yet, is told the clip's id.

        Raises:
            ClipError: If they cannot be read.
        """
        media = self.source.read(clip)
        # Here and not in the source, which may be one of several and then has shorter ids.
        return replace(media, clip_id=clip.id) if isinstance(media, VideoSegment) else media

    def round_features(self, computed: ComputedFeatures) -> ProcessedClip:
        """Round the features of a clip to the stored dtype.

        Raises:
            ClipError: If a stream is missing (reason `missing_stream`) or values cannot be stored.
        """
        features = computed.streams
        missing_streams = [name for name in self.step.streams if name not in features]
        if missing_streams:
            raise ClipError(
                f"the clip has no stream `{'`, `'.join(missing_streams)}`", "missing_stream"
            )
        rounded = {name: self._round_stream(name, features[name]) for name in self.step.streams}
        streams = {name: _make_stream_status(features[name]) for name in self.step.streams}
        return ProcessedClip(rounded, streams, computed.statistics)

    def _round_stream(self, name: str, features: Features) -> NDArray[Any]:
        """Round the features of a stream to the stored dtype and return them, (T, D).

        Args:
            name: Name of the stream, for the message of an error.
            features: Computed features.

        Raises:
            ClipError: If there are no frames, or values are NaN, infinite or too large for the
                dtype; the message names the stream if there are several.
        """
        try:
            return round_to_store_dtype(features.x_TD, features.fixed_dtype or self.dtype)
        except ClipError as error:
            prefix = f"`{name}`: " if len(self.step.streams) > 1 else ""
            raise ClipError(f"{prefix}{error}", error.reason) from None


def _make_stream_status(features: Features) -> StreamStatus:
    """Return the status of a stream of a clip whose features were computed."""
    num_frames, width = features.x_TD.shape
    return StreamStatus(
        num_frames,
        width,
        float(features.rate_hz),
        features.layout,
        features.has_mask,
        features.frame_size,
        features.reads_video,
        features.vocabulary,
    )
