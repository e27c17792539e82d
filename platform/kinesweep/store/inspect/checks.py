"""Integrity checks of a finished store: damaged bytes, and features shared between splits.

`open_store` checks file sizes; `verify` reads everything (about 1.5 GB/s). The digests of the
features are in the index, so identical motion in two splits under different names is found without
reading any features.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kinesweep.core.errors import StoreError
from kinesweep.core.hashing import file_sha256
from kinesweep.store.format.reader import Store
from kinesweep.store.format.writer import features_digest


@dataclass(frozen=True)
class SharedFeatures:
    """Clips of two splits whose stored features are bit-identical.

    Attributes:
        first: Name of a split.
        second: Name of another split.
        pairs: Pairs of clip ids, the first in `first` and the second in `second`.
    """

    first: str
    second: str
    pairs: tuple[tuple[str, str], ...]


def verify(store: Store) -> None:
    """Read every byte of a store and compare it with the manifest and the index.

    Raises:
        StoreError: If a file or clip is damaged; the message names all of them.
    """
    bad = [
        f"`{name}`: its SHA-256 is wrong"
        for name, mark in store.manifest["files"].items()
        if file_sha256(store.folder / name) != mark["sha256"]
    ]
    # Clips in damaged files would only repeat the same problem, and reading them could fail.
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
    """Return clips with identical features in two splits, one entry per affected pair of splits."""
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
