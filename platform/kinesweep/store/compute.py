"""Computes one chunk of clips: media in, a shard and one status a clip out. No Ray.

A clip that cannot be used becomes a status with its reason, never an exception: one bad row must
not cost the others their work. Clips whose features lie in another store are copied after their
digest was checked; a copy that fails is computed instead. Shapes: T frames, D width.
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
from kinesweep.sources.contract import Source
from kinesweep.store.dtype import to_store
from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store, open_store
from kinesweep.store.writer import FileMark, features_digest, write_shard


@dataclass(frozen=True)
class Earlier:
    """Where a clip's features lie already: a store, the record there and their size."""

    folder: Path
    record: ClipRecord
    num_bytes: int


@dataclass(frozen=True)
class Entry:
    """One clip to be brought into the store."""

    clip: Clip
    key: str
    earlier: Earlier | None = None


@dataclass(frozen=True)
class Chunk:
    """Clips that become one shard.

    Attributes:
        shard: the shard's file, relative to the store.
        entries: the clips in order.
    """

    shard: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class StreamStatus:
    """A stream of a clip that was kept.

    Attributes:
        frames: T.
        width: D.
        rate_hz: frames a second.
        layout: the points that its values are coordinates of; None: no points.
    """

    frames: int
    width: int
    rate_hz: float
    layout: PointLayout | None = None


@dataclass(frozen=True)
class ClipStatus:
    """What became of a clip.

    Attributes:
        place: its row in the shard; -1 when it was dropped.
        streams: name → what it is like; none when it was dropped.
        digest: of its stored features.
        reused: copied from another store.
        reason: why it was dropped, in a word; empty when it was kept.
        message: the same in a sentence.
    """

    place: int
    streams: dict[str, StreamStatus] = field(default_factory=dict)
    digest: str = ""
    reused: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class ChunkResult:
    """What became of a chunk: a status for each clip, and the shard unless all were dropped."""

    statuses: tuple[ClipStatus, ...]
    shard: FileMark | None


Compute = Callable[[Entry], dict[str, Features]]
"""Gives a clip's features, all streams, or raises a `ClipError`."""
Streams = dict[str, NDArray[np.floating]]
"""Stream → (T, D) as they are stored."""


@dataclass(frozen=True)
class Computer:
    """Turns chunks into shards below a folder; picklable, so that any process can do it."""

    source: Source
    step: FeatureStep
    dtype: str
    folder: Path

    def __call__(self, chunk: Chunk, compute: Compute | None = None) -> ChunkResult:
        """Computes a chunk and writes its shard.

        Args:
            chunk: which clips.
            compute: gives a clip's features where they are not copied; default: computed here.
        """
        compute = compute or self.features
        kept: list[Streams] = []
        statuses = []
        # One object for equal layouts: it crosses to the driver once a chunk, not once a clip.
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
            statuses.append(ClipStatus(len(kept), streams, features_digest(found), reused))
            kept.append(found)
        if not kept:
            return ChunkResult(tuple(statuses), None)
        columns = {name: [clip[name] for clip in kept] for name in self.step.streams}
        mark = write_shard(self.folder / chunk.shard, columns)
        return ChunkResult(tuple(statuses), mark)

    def features(self, entry: Entry) -> dict[str, Features]:
        """A clip's features, computed from its media.

        Raises:
            ClipError: with the reason under which the clip is counted.
        """
        return self.step.compute(self.source.read(entry.clip))

    def _clip(
        self, entry: Entry, compute: Compute
    ) -> tuple[Streams, dict[str, StreamStatus], bool]:
        """A clip's stored features, what they are like, and whether they were copied.

        Raises:
            ClipError: reason `missing_stream`, or any of `compute`'s.
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
        found = compute(entry)
        lacking = [name for name in self.step.streams if name not in found]
        if lacking:
            raise ClipError(f"there are no features `{'`, `'.join(lacking)}`", "missing_stream")
        stored = {name: self._stored(name, found[name]) for name in self.step.streams}
        streams = {
            name: _status(x_TD, float(found[name].rate_hz), found[name].layout)
            for name, x_TD in stored.items()
        }
        return stored, streams, False

    def _stored(self, name: str, features: Features) -> NDArray[np.floating]:
        """A stream rounded to the store's type.

        Raises:
            ClipError: as `to_store`; among several streams it is named.
        """
        try:
            return to_store(features.x_TD, self.dtype)
        except ClipError as error:
            which = f"`{name}`: " if len(self.step.streams) > 1 else ""
            raise ClipError(f"{which}{error}", error.reason) from None

    def _copy(self, earlier: Earlier) -> Streams | None:
        """Features out of another store, or None when they are not what was written there."""
        try:
            found = _opened(earlier.folder).features(earlier.record)
        except (StoreError, ValueError):
            return None
        if features_digest(found) != earlier.record.digest:
            return None
        return {name: found[name] for name in self.step.streams}


def _status(x_TD: NDArray[np.floating], rate_hz: float, layout: PointLayout | None) -> StreamStatus:
    frames, width = x_TD.shape
    return StreamStatus(frames, width, rate_hz, layout)


@lru_cache(maxsize=4)
def _opened(folder: Path) -> Store:
    """A store to copy from, opened once a process."""
    return open_store(folder)
