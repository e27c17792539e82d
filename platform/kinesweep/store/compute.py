"""Computes one chunk of clips: media in, a shard and one status a clip out. No Ray.

A clip that cannot be used becomes a status with its reason, never an exception: one bad row must
not cost the others their work. Clips whose features lie in another store are copied after their
digest was checked; a copy that fails is computed instead. Shapes: T frames, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
class ClipStatus:
    """What became of a clip.

    Attributes:
        place: its row in the shard; -1 when it was dropped.
        frames: T.
        width: D.
        rate_hz: frames a second.
        layout: the points that its values are coordinates of; None: no points.
        digest: of its stored features.
        reused: copied from another store.
        reason: why it was dropped, in a word; empty when it was kept.
        message: the same in a sentence.
    """

    place: int
    frames: int = 0
    width: int = 0
    rate_hz: float = 0.0
    layout: PointLayout | None = None
    digest: str = ""
    reused: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class ChunkResult:
    """What became of a chunk: a status for each clip, and the shard unless all were dropped."""

    statuses: tuple[ClipStatus, ...]
    shard: FileMark | None


Compute = Callable[[Entry], Features]
"""Gives a clip's features, or raises a `ClipError`."""


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
        kept: list[NDArray[np.floating]] = []
        statuses = []
        # One object for equal layouts: it crosses to the driver once a chunk, not once a clip.
        layouts: dict[PointLayout | None, PointLayout | None] = {}
        for entry in chunk.entries:
            try:
                x_TD, rate_hz, layout, reused = self._clip(entry, compute)
            except ClipError as error:
                statuses.append(ClipStatus(-1, reason=error.reason, message=str(error)))
                continue
            digest = features_digest({self.step.stream: x_TD})
            frames, width = x_TD.shape
            layout = layouts.setdefault(layout, layout)
            status = ClipStatus(len(kept), frames, width, rate_hz, layout, digest, reused)
            statuses.append(status)
            kept.append(x_TD)
        if not kept:
            return ChunkResult(tuple(statuses), None)
        mark = write_shard(self.folder / chunk.shard, {self.step.stream: kept})
        return ChunkResult(tuple(statuses), mark)

    def features(self, entry: Entry) -> Features:
        """A clip's features, computed from its media.

        Raises:
            ClipError: with the reason under which the clip is counted.
        """
        return self.step.compute(self.source.read(entry.clip))

    def _clip(
        self, entry: Entry, compute: Compute
    ) -> tuple[NDArray[np.floating], float, PointLayout | None, bool]:
        """A clip's stored features, their rate and points, and whether they were copied."""
        if entry.earlier is not None:
            copied = self._copy(entry.earlier)
            if copied is not None:
                rate_hz = entry.earlier.record.rates_hz[self.step.stream]
                known = _opened(entry.earlier.folder).schema.streams[self.step.stream]
                return copied, rate_hz, known.layout, True
        found = compute(entry)
        return to_store(found.x_TD, self.dtype), float(found.rate_hz), found.layout, False

    def _copy(self, earlier: Earlier) -> NDArray[np.floating] | None:
        """Features out of another store, or None when they are not what was written there."""
        try:
            found = _opened(earlier.folder).features(earlier.record)
        except (StoreError, ValueError):
            return None
        intact = features_digest(found) == earlier.record.digest
        return found[self.step.stream] if intact else None


@lru_cache(maxsize=4)
def _opened(folder: Path) -> Store:
    """A store to copy from, opened once a process."""
    return open_store(folder)
