"""What can be asked of a finished store: are its bytes intact, and do its splits share features.

`open_store` looks at sizes; `verify` reads everything (about 1.5 GB/s). The digests of features are
in the index, so finding the same motion in two splits under other names costs no reading.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kinesweep.core.errors import StoreError
from kinesweep.core.hashing import file_sha256
from kinesweep.store.reader import Store
from kinesweep.store.writer import features_digest


@dataclass(frozen=True)
class SharedFeatures:
    """Clips of two splits whose stored features are equal to the bit.

    Attributes:
        first: a split.
        second: another split.
        pairs: ids, of a clip in `first` and of one in `second`.
    """

    first: str
    second: str
    pairs: tuple[tuple[str, str], ...]


def verify(store: Store) -> None:
    """Reads every byte of a store and compares it with the manifest and the index.

    Raises:
        StoreError: names every damaged file and clip.
    """
    bad = [
        f"`{name}`: its SHA-256 is wrong"
        for name, mark in store.manifest["files"].items()
        if file_sha256(store.folder / name) != mark["sha256"]
    ]
    for split in store.splits if not bad else ():
        for record in store.records(split):
            found = store.features(record)
            if features_digest(found) != record.digest:
                bad.append(f"clip `{record.clip.id}`: its digest is wrong")
            if not all(np.isfinite(x_TD).all() for x_TD in found.values()):
                bad.append(f"clip `{record.clip.id}`: NaN or infinite features")
    if bad:
        listed = "\n  ".join(bad)
        raise StoreError(
            f"`{store.folder}` is damaged:\n  {listed}\nRemove the folder and extract again."
        )


def shared_features(store: Store) -> list[SharedFeatures]:
    """The same features in two splits, one entry for each pair of splits that shares any."""
    ids: dict[str, dict[str, list[str]]] = {split: defaultdict(list) for split in store.splits}
    for split in store.splits:
        for record in store.records(split):
            ids[split][record.digest].append(record.clip.id)
    found = []
    for first, second in combinations(store.splits, 2):
        pairs = [
            (clip_id, other)
            for digest, clip_ids in ids[first].items()
            for clip_id in clip_ids
            for other in ids[second].get(digest, ())
        ]
        if pairs:
            found.append(SharedFeatures(first, second, tuple(pairs)))
    return found
