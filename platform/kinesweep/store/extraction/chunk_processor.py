"""The processor of a chunk: reads media, writes a shard, returns one status per clip. No Ray.

A clip that cannot be used becomes a status with a reason, never an exception, so that one bad row
does not discard the work on the others. Clips whose features exist in another store are copied
after their digest has been checked; if the check fails, the clip is computed instead. Shapes: T
frames, D width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, StoreError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.features.contract import FeatureStep
from kinesweep.features.quality.media_statistics import MediaStatistics, compute_media_statistics
from kinesweep.sources.base import Source
from kinesweep.store.extraction.clip_processor import (
    ClipProcessor,
    ComputedFeatures,
    StoredStreams,
    StreamStatus,
)
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.format.shard_writer import ShardWriter
from kinesweep.store.format.writer import FileChecksum, compute_features_digest


@dataclass(frozen=True)
class CachedFeatures:
    """The location of a clip's existing features.

    Attributes:
        folder: Folder of the store that contains them.
        record: Index record of the clip in that store.
        num_bytes: Size of the features of all streams in bytes.
    """

    folder: Path
    record: ClipRecord
    num_bytes: int


@dataclass(frozen=True)
class ClipTask:
    """A clip to be added to the store.

    Attributes:
        clip: Metadata of the clip.
        key: Key of its features (`fingerprint.compute_clip_key`).
        cached: Location of existing features with the same key; None if they must be computed.
    """

    clip: Clip
    key: str
    cached: CachedFeatures | None = None


@dataclass(frozen=True)
class ClipChunk:
    """The clips of one shard.

    Attributes:
        shard: Path of the shard relative to the store.
        tasks: Clips in the order of their split.
    """

    shard: str
    tasks: tuple[ClipTask, ...]


@dataclass(frozen=True)
class ClipStatus:
    """The result for one clip of a chunk: either stored, or dropped for a reason.

    Attributes:
        shard_row: Row of the clip in the shard; -1 if it was dropped, 0 without a shard.
        streams: Stream → shape, rate and layout; empty if the clip was dropped.
        statistics: Statistics of the clip's media; None if it was dropped or has no points.
        digest: Digest of the stored features; empty if the clip was dropped.
        reused: True if the features were copied from another store.
        reason: Key under which a dropped clip is counted; empty if it was stored.
        message: Explanation of why the clip was dropped; empty if it was stored.
    """

    shard_row: int
    streams: dict[str, StreamStatus] = field(default_factory=dict)
    statistics: MediaStatistics | None = None
    digest: str = ""
    reused: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class ChunkResult:
    """The result for one chunk, whose shard has been written.

    Attributes:
        statuses: One status per clip, in the order of the chunk.
        shard: Size and hash of the shard; None if all clips were dropped, or nothing is stored of
            them.
    """

    statuses: tuple[ClipStatus, ...]
    shard: FileChecksum | None


ComputeFeatures = Callable[[ClipTask], ComputedFeatures]
"""Function that returns all streams of a clip, or raises a `ClipError`."""


@dataclass(frozen=True)
class ChunkProcessor:
    """A function that computes chunks and writes shards below a folder; it can be pickled.

    Attributes:
        source: Corpus from which media are read.
        step: Feature step that computes the streams.
        dtype: Stored dtype, `float16` or `float32`; frames are always stored as `uint8`.
        folder: Folder below which shards are written.
    """

    source: Source
    step: FeatureStep
    dtype: str
    folder: Path

    def __call__(self, chunk: ClipChunk, compute: ComputeFeatures | None = None) -> ChunkResult:
        """Copy or compute the features of the clips of a chunk, and write them as its shard.

        A clip that cannot be used gets a status with a reason. If all are unusable, no shard is
        written.

        Args:
            chunk: Clips to process.
            compute: Function that returns the features of a clip that is not copied. Default:
                `compute_features`, which reads the clip's media.
        """
        compute = compute or self.compute_features
        statuses = []
        # Equal layouts share one object, so each is sent to the driver once per chunk.
        layouts: dict[PointLayout | None, PointLayout | None] = {}
        with ShardWriter(self.folder / chunk.shard, self.step.streams) as shard:
            for task in chunk.tasks:
                try:
                    status, features = self._process_clip(task, compute)
                except ClipError as error:
                    statuses.append(ClipStatus(-1, reason=error.reason, message=str(error)))
                    continue
                streams = {
                    name: replace(stream, layout=layouts.setdefault(stream.layout, stream.layout))
                    for name, stream in status.streams.items()
                }
                row = 0
                # Nothing is stored of clips whose frames are decoded when they are read.
                if features:
                    is_large = any(stream.frame_size for stream in streams.values())
                    row = shard.add(features, is_large=is_large)
                statuses.append(replace(status, shard_row=row, streams=streams))
            return ChunkResult(tuple(statuses), shard.finish())

    @property
    def clip_processor(self) -> ClipProcessor:
        """Return the function that computes a clip without writing it."""
        return ClipProcessor(self.source, self.step, self.dtype)

    def compute_features(self, task: ClipTask) -> ComputedFeatures:
        """Compute the features of all streams of a clip from its media.

        Raises:
            ClipError: If the clip cannot be used; its reason is the key under which the clip is
                counted.
        """
        return self.clip_processor.compute_features(task.clip)

    def _process_clip(
        self, task: ClipTask, compute: ComputeFeatures
    ) -> tuple[ClipStatus, StoredStreams]:
        """Copy the features of a clip if possible; otherwise compute them.

        Args:
            task: Clip with the location of existing features, if there are any.
            compute: Function that returns the features of a clip that is not copied.

        Returns:
            Status, in which the row is still missing, and the features in the stored dtype; no
            features if frames are decoded whenever they are read.

        Raises:
            ClipError: If `compute` fails, a stream is missing (reason `missing_stream`), or values
                cannot be stored.
        """
        cached = task.cached
        copied = self._copy_cached_features(cached) if cached is not None else None
        if cached is not None and copied is not None:
            streams = _get_cached_streams(cached)
            statistics = self._get_cached_statistics(task, streams)
            return ClipStatus(-1, streams, statistics, cached.record.digest, True), copied
        # Not copied, either because no store has these features or because the copy was damaged.
        processed = self.clip_processor.round_features(compute(task))
        digest = compute_features_digest(processed.features)
        reads_video = any(stream.reads_video for stream in processed.streams.values())
        return (
            ClipStatus(-1, processed.streams, processed.statistics, digest),
            {} if reads_video else processed.features,
        )

    def _get_cached_statistics(
        self, task: ClipTask, streams: Mapping[str, StreamStatus]
    ) -> MediaStatistics | None:
        """Return the statistics of a clip whose features are copied.

        Args:
            task: Clip with the location of existing features.
            streams: Streams of the copied features.

        Raises:
            ClipError: If the statistics must be computed and the media cannot be read.
        """
        assert task.cached is not None
        statistics = _open_cached_store(task.cached.folder).find_media_statistics(task.key)
        # Stores of earlier versions have none. Videos and precomputed features never have any, so
        # their media are not read again.
        if statistics is None and any(status.layout for status in streams.values()):
            statistics = compute_media_statistics(self.source.read(task.clip))
        return statistics

    def _copy_cached_features(self, cached: CachedFeatures) -> StoredStreams | None:
        """Return the features of a clip from another store.

        Args:
            cached: Location of the features.

        Returns:
            Features by stream, in the order of this feature step; none if they are decoded from
            the video whenever they are read. None if the other store cannot be read any more, or
            the features do not match their digest.
        """
        try:
            store = _open_cached_store(cached.folder)
            if store.reads_video:
                # The key covers the content of the video, so the digest of its frames still holds.
                return {}
            features = store.get_features(cached.record)
        except (StoreError, ValueError):
            return None
        if compute_features_digest(features) != cached.record.digest:
            return None
        # The key covers the order of the streams, so it is that of this step.
        return features


def _get_cached_streams(cached: CachedFeatures) -> dict[str, StreamStatus]:
    """Return stream → shape, rate and layout of a clip whose features are copied."""
    record = cached.record
    return {
        name: StreamStatus(
            record.lengths[name],
            schema.width,
            record.rates_hz[name],
            schema.layout,
            schema.has_mask,
            schema.frame_size,
            schema.reads_video,
            schema.vocabulary,
        )
        for name, schema in _open_cached_store(cached.folder).schema.streams.items()
    }


@lru_cache(maxsize=4)
def _open_cached_store(folder: Path) -> Store:
    """Open a store to copy from; each process keeps the four most recently used stores open.

    Raises:
        StoreError: If the store no longer exists or is damaged.
    """
    return open_store(folder)
