"""Computes one chunk of clips: takes media, writes a shard and returns one status per clip. No Ray.

A clip that cannot be used becomes a status with a reason, never an exception, so that one bad row
does not discard the work on the others. Clips whose features exist in another store are copied
after their digest has been checked; if the check fails, the clip is computed instead. Shapes: T
frames, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, StoreError
from kinesweep.core.pose import PointLayout
from kinesweep.features.contract import Features, FeatureStep
from kinesweep.sources.base import Source
from kinesweep.store.format.dtype import to_store
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.format.writer import FileMark, features_digest, write_shard


@dataclass(frozen=True)
class CachedFeatures:
    """The location of a clip's existing features.

    Attributes:
        folder: Folder of the store that contains them.
        record: Index record of the clip in that store.
        num_bytes: Size of the features in bytes, all streams.
    """

    folder: Path
    record: ClipRecord
    num_bytes: int


@dataclass(frozen=True)
class ClipTask:
    """A clip to be added to the store.

    Attributes:
        clip: Metadata of the clip.
        key: Key of its features (`fingerprint.clip_key`).
        earlier: Location of existing features with the same key; None if they must be computed.
    """

    clip: Clip
    key: str
    earlier: CachedFeatures | None = None


@dataclass(frozen=True)
class Chunk:
    """The clips of one shard.

    Attributes:
        shard: Path of the shard relative to the store.
        entries: Clips in order.
    """

    shard: str
    entries: tuple[ClipTask, ...]


@dataclass(frozen=True)
class StreamStatus:
    """A stream of a clip that was kept.

    Attributes:
        frames: Number of frames, T.
        width: Values per frame, D.
        rate_hz: Frames per second.
        layout: Points whose coordinates the values are; None if the stream has no points.
    """

    frames: int
    width: int
    rate_hz: float
    layout: PointLayout | None = None


@dataclass(frozen=True)
class ClipStatus:
    """The result for one clip.

    Attributes:
        place: Row of the clip in the shard; -1 if it was dropped.
        streams: Stream → shape, rate and layout; empty if the clip was dropped.
        digest: Digest of the stored features.
        reused: True if the features were copied from another store.
        reason: Key under which a dropped clip is counted; empty if it was kept.
        message: Explanation of why the clip was dropped.
    """

    place: int
    streams: dict[str, StreamStatus] = field(default_factory=dict)
    digest: str = ""
    reused: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class ChunkResult:
    """The result for one chunk.

    Attributes:
        statuses: One status per clip, in the order of the chunk.
        shard: Size and hash of the shard; None if all clips were dropped.
    """

    statuses: tuple[ClipStatus, ...]
    shard: FileMark | None


Compute = Callable[[ClipTask], dict[str, Features]]
"""Function that returns all streams of a clip, or raises a `ClipError`."""
Streams = dict[str, NDArray[np.floating]]
"""Stream → (T, D) array in the stored dtype."""


@dataclass(frozen=True)
class ChunkProcessor:
    """A chunk processor that writes shards below a folder; picklable, so any process can run it.

    Attributes:
        source: Corpus from which media are read.
        step: Feature step that computes the streams.
        dtype: Stored dtype, `float16` or `float32`.
        folder: Folder below which shards are written.
    """

    source: Source
    step: FeatureStep
    dtype: str
    folder: Path

    def __call__(self, chunk: Chunk, compute: Compute | None = None) -> ChunkResult:
        """Compute a chunk and write its shard.

        Args:
            chunk: Clips to process.
            compute: Function that returns the features of a clip that is not copied. Default:
                compute them here, from the clip's media.
        """
        compute = compute or self.features
        kept: list[Streams] = []
        statuses = []
        # Equal layouts share one object, so each is sent to the driver once per chunk.
        layouts: dict[PointLayout | None, PointLayout | None] = {}
        for entry in chunk.entries:
            try:
                found, streams, reused = self._clip(entry, compute)
            except ClipError as error:
                statuses.append(ClipStatus(-1, reason=error.reason, message=str(error)))
                continue
            streams = {
                name: replace(one, layout=layouts.setdefault(one.layout, one.layout))
                for name, one in streams.items()
            }
            # `len(kept)` is the clip's row in the shard: dropped clips take up no row.
            statuses.append(ClipStatus(len(kept), streams, features_digest(found), reused))
            kept.append(found)
        if not kept:
            return ChunkResult(tuple(statuses), None)
        columns = {name: [clip[name] for clip in kept] for name in self.step.streams}
        mark = write_shard(self.folder / chunk.shard, columns)
        return ChunkResult(tuple(statuses), mark)

    def features(self, entry: ClipTask) -> dict[str, Features]:
        """Compute the features of a clip from its media.

        Raises:
            ClipError: If the clip cannot be used; its reason is the key under which the clip is
                counted.
        """
        return self.step.compute(self.source.read(entry.clip))

    def _clip(
        self, entry: ClipTask, compute: Compute
    ) -> tuple[Streams, dict[str, StreamStatus], bool]:
        """Return the stored features of a clip, their description, and whether they were copied.

        Raises:
            ClipError: If `compute` fails, a stream is missing (reason `missing_stream`), or values
                cannot be stored.
        """
        earlier = entry.earlier
        copied = self._copy(earlier) if earlier is not None else None
        if earlier is not None and copied is not None:
            known, rates_hz = _opened(earlier.folder).schema.streams, earlier.record.rates_hz
            streams = {
                name: _status(x_TD, rates_hz[name], known[name].layout)
                for name, x_TD in copied.items()
            }
            return copied, streams, True
        # Not copied, either because no store has these features or because the copy was damaged.
        found = compute(entry)
        lacking = [name for name in self.step.streams if name not in found]
        if lacking:
            raise ClipError(f"the clip has no stream `{'`, `'.join(lacking)}`", "missing_stream")
        stored = {name: self._stored(name, found[name]) for name in self.step.streams}
        streams = {
            name: _status(x_TD, float(found[name].rate_hz), found[name].layout)
            for name, x_TD in stored.items()
        }
        return stored, streams, False

    def _stored(self, name: str, features: Features) -> NDArray[np.floating]:
        """Round a stream to the stored dtype.

        Raises:
            ClipError: As `to_store`; the message names the stream if there are several.
        """
        try:
            return to_store(features.x_TD, self.dtype)
        except ClipError as error:
            which = f"`{name}`: " if len(self.step.streams) > 1 else ""
            raise ClipError(f"{which}{error}", error.reason) from None

    def _copy(self, earlier: CachedFeatures) -> Streams | None:
        """Return features from another store, or None if they are not what was written there."""
        try:
            found = _opened(earlier.folder).features(earlier.record)
        except (StoreError, ValueError):
            return None
        if features_digest(found) != earlier.record.digest:
            return None
        # The digest of the new store depends on the order of the streams, so use this step's order.
        return {name: found[name] for name in self.step.streams}


def _status(x_TD: NDArray[np.floating], rate_hz: float, layout: PointLayout | None) -> StreamStatus:
    """Describe a stored stream."""
    frames, width = x_TD.shape
    return StreamStatus(frames, width, rate_hz, layout)


@lru_cache(maxsize=4)
def _opened(folder: Path) -> Store:
    """Return a store to copy from; each process keeps the four most recently used ones open."""
    return open_store(folder)
