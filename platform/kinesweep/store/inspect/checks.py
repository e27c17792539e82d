"""Integrity checks of a finished store: damaged bytes, and features shared between splits.

`open_store` checks file sizes; `verify_store` reads everything (about 1.5 GB/s). The digests of the
features are in the index, so identical motion in two splits under different names is found without
reading any features.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kinesweep.core.errors import StoreError
from kinesweep.core.hashing import compute_file_sha256
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.format.writer import compute_features_digest


@dataclass(frozen=True)
class SharedFeatures:
    """Clips of two splits whose stored features are bit-identical.

    Attributes:
        first: Name of a split.
        second: Name of another split.
        pairs: Pairs of clip IDs, one from the split `first` and one from the split `second`.
    """

    first: str
    second: str
    pairs: tuple[tuple[str, str], ...]


def verify_store(store: Store) -> None:
    """Verify a store by reading every byte: hashes of files, and digests and values of clips.

    Clips are checked only if all files have the SHA-256 of the manifest. Of a combined store, the
    stores of all parts are verified.

    Raises:
        StoreError: If files are damaged; otherwise if the features of clips differ from their
            digests or are not finite. The message names all of them.
    """
    errors = [
        f"`{name}`: its SHA-256 is wrong"
        for name, checksum in store.manifest["files"].items()
        if compute_file_sha256(store.folder / name) != checksum["sha256"]
    ]
    if store.parts is not None and not errors:
        for folder in store.parts.list_folders(store.folder):
            verify_store(open_store(folder))
        return
    # Clips in damaged files would only repeat the same problem, and reading them could fail.
    for split in store.splits if not errors else ():
        for record in store.get_records(split):
            features = store.get_features(record)
            if compute_features_digest(features) != record.digest:
                errors.append(f"clip `{record.clip.id}`: its digest is wrong")
            if not all(np.isfinite(x_TD).all() for x_TD in features.values()):
                errors.append(f"clip `{record.clip.id}`: NaN or infinite features")
    if errors:
        error_lines = "\n  ".join(errors)
        raise StoreError(
            f"`{store.folder}` is damaged:\n  {error_lines}\nRemove the folder and extract again."
        )


def find_shared_features(store: Store) -> list[SharedFeatures]:
    """Find clips of different splits whose stored features are bit-identical.

    Returns:
        One entry for each pair of splits that share features.
    """
    ids_by_digest: dict[str, dict[str, list[str]]] = {
        split: defaultdict(list) for split in store.splits
    }
    for split in store.splits:
        for record in store.get_records(split):
            ids_by_digest[split][record.digest].append(record.clip.id)
    shared_features = []
    for first, second in combinations(store.splits, 2):
        pairs = [
            (clip_id, other_id)
            for digest, clip_ids in ids_by_digest[first].items()
            for clip_id in clip_ids
            for other_id in ids_by_digest[second].get(digest, ())
        ]
        if pairs:
            shared_features.append(SharedFeatures(first, second, tuple(pairs)))
    return shared_features
