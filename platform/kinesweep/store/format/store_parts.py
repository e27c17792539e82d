"""The parts of a combined store: the stores of its streams, from which features are read.

A combined store holds no features. Its manifest names a store for each stream, by a path relative
to its own folder, and its index has the clips that all parts have. A stream may have several parts,
one for each corpus that provides it; a clip of another corpus lacks the stream. It may also have a
part for each variant of the training clips, which epochs read in turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import StoreError
from kinesweep.features.quality.media_statistics import MediaStatistics
from kinesweep.store.format.index import ClipRecord

PARTS = "parts"
"""Key of the manifest of a combined store: a list of `PartReference`, as plain values."""


@dataclass(frozen=True)
class PartReference:
    """The reference from a combined store to the store of a part.

    Attributes:
        stream: Name of the stream in the combined store.
        stored_stream: Name of the stream in the store of the part.
        folder: Folder of the store, relative to that of the combined store.
        fingerprint: Fingerprint of the store.
        epoch: Index of the variant of the training clips that the store holds; None if it holds
            all variants that its clips have.
    """

    stream: str
    stored_stream: str
    folder: str
    fingerprint: str
    epoch: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the plain values of the manifest; those of most parts have no epoch."""
        values = asdict(self)
        if self.epoch is None:
            del values["epoch"]
        return values


class PartStore(Protocol):
    """The part of a store's interface that a combined store reads."""

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the store."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""

    def get_records(self, split: str) -> list[ClipRecord]:
        """Return the records of the clips of a split."""

    def get_features(self, record: ClipRecord) -> dict[str, NDArray[np.floating]]:
        """Return stream → features of a clip, (T, D)."""

    def find_media_statistics(self, key: str) -> MediaStatistics | None:
        """Return the statistics of the media of the clip with a key."""


@dataclass(frozen=True)
class StorePart:
    """A part of a combined store with its open store.

    Attributes:
        reference: Reference from the manifest of the combined store.
        store: Store of the part.
    """

    reference: PartReference
    store: PartStore

    @cached_property
    def records(self) -> dict[tuple[str, str], ClipRecord]:
        """Return split and clip id → record in the store of the part."""
        return {
            (split, record.clip.id): record
            for split in self.store.splits
            for record in self.store.get_records(split)
        }


@dataclass(frozen=True)
class StoreParts:
    """All parts of a combined store.

    Attributes:
        parts: Parts in the order of the streams.
    """

    parts: Sequence[StorePart]

    def get_features(self, record: ClipRecord) -> dict[str, NDArray[np.floating]]:
        """Return stream → features (T, D) for all streams that a clip has.

        Args:
            record: Record of the clip in the combined store.

        Raises:
            StoreError: If a shard is damaged.
        """
        features = {}
        for part in self.parts:
            part_record = self._find_record(part, record)
            if part_record is not None:
                stored = part.store.get_features(part_record.at_epoch(record.epoch))
                features[part.reference.stream] = stored[part.reference.stored_stream]
        return features

    def find_media_statistics(self, record: ClipRecord) -> MediaStatistics | None:
        """Return the statistics of a clip's media from the first part that has any."""
        for part in self.parts:
            part_record = self._find_record(part, record)
            if part_record is not None:
                statistics = part.store.find_media_statistics(part_record.key)
                if statistics is not None:
                    return statistics
        return None

    def list_folders(self, folder: Path) -> list[Path]:
        """Return the folders of the distinct stores of all parts.

        Args:
            folder: Folder of the combined store.
        """
        return [
            folder / name for name in dict.fromkeys(part.reference.folder for part in self.parts)
        ]

    def _find_record(self, part: StorePart, record: ClipRecord) -> ClipRecord | None:
        """Return the record of a clip in a part; None if another part, or none, has its stream."""
        # The clip of another corpus may have the same id in this store, but without the stream.
        if part.reference.stream not in record.lengths:
            return None
        if part.reference.epoch not in (None, record.epoch):
            return None
        return part.records.get((record.clip.split, record.clip.id))


def parse_part_references(manifest: Mapping[str, Any]) -> list[PartReference]:
    """Parse the references to parts in the manifest of a store; empty if it holds its features."""
    return [PartReference(**values) for values in manifest.get(PARTS, ())]


def check_part(folder: Path, reference: PartReference, store: PartStore) -> None:
    """Check that the store of a part is the one that a combined store was made from.

    Args:
        folder: Folder of the combined store.
        reference: Reference from its manifest.
        store: Store that was found there.

    Raises:
        StoreError: If it has another fingerprint.
    """
    if store.fingerprint != reference.fingerprint:
        raise StoreError(
            f"the stream `{reference.stream}` of `{folder}` has other features than when the store"
            f" was made: `{folder / reference.folder}` has the fingerprint"
            f" {store.fingerprint[:12]}… instead of {reference.fingerprint[:12]}…; run"
            " `kinesweep extract` again"
        )
