"""The export of a stream of a store as SSVP-SLT manifests and a tree of `.pt` files.

The export consists of `features/{epoch}/{name[:5]}/{name}.pt`, float32 (L, D), and of
`manifests/{train,val,test}_features.tsv` with the columns `video_name, length, label`, each written
after the features of its split. A `feature_manifest` source reads the export back, bit-identical
for a float32 store. Names and epochs are derived from clip ids (`export_rows`). The layout holds
one text per clip; the number of omitted references is reported. Each file is synced to disk before
it gets its final name, which limits the export to about 800 files per second. Within Kinesweep,
share the store instead.

Shapes: L frames, D width.
"""

import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.features.augmentation import Augmentation, build_augmentation
from kinesweep.sources.precomputed.feature_manifest import (
    FEATURES_DIR,
    MANIFEST_COLUMNS,
    get_feature_path,
)
from kinesweep.store.export.export_rows import (
    FeatureFile,
    ManifestRow,
    build_manifest_rows,
    check_manifest_rows,
    make_augmented_row,
)
from kinesweep.store.format.reader import Store
from kinesweep.store.format.writer import write_bytes_durably

MANIFESTS_FOLDER = "manifests"
EXPORT_MARKER = "handed_over.json"
"""File that records the source store; only a folder that contains it may be overwritten."""
_MANIFEST_NAMES = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class AugmentedCopies:
    """Augmented copies that replace the clips of train.

    Attributes:
        augmentation: Augmentation that creates the copies.
        num_copies: Number of copies per clip.
    """

    augmentation: Augmentation
    num_copies: int


@dataclass(frozen=True)
class SsvpExportResult:
    """The result of an export in SSVP-SLT's layout.

    Attributes:
        stream: Name of the exported stream.
        width: Values per frame, D.
        rate_hz: Frame rate to configure in a source that reads the export; None if clips differ.
        clips: Split → rows of its manifest.
        epochs: Epoch → files of train; fewer than rows if the store lacks copies for that epoch.
        references_left: Number of omitted texts, that is, all texts after the first one of each
            clip.
    """

    stream: str
    width: int
    rate_hz: float | None
    clips: dict[str, int]
    epochs: dict[int, int]
    references_left: int


def export_ssvp_features(
    store: Store,
    out: Path,
    stream: str | None = None,
    epoch: int = 0,
    augmented_copies: AugmentedCopies | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SsvpExportResult:
    """Export a stream of a store as SSVP-SLT manifests and feature files.

    Args:
        store: Store to export.
        out: New or empty folder.
        stream: Name of the stream; required if the store has several.
        epoch: Epoch folder for clips whose ids contain no epoch; also the first epoch of augmented
            copies.
        augmented_copies: Augmented copies to write instead of the clips of train.
        overwrite: Replace an earlier export in `out`.
        progress: Callback that is called after every row.

    Raises:
        InputError: If the stream does not exist, the folder is not empty, names clash, a manifest
            cannot hold a text, or augmentation is requested for clips that already have copies.
        StoreError: If a shard is damaged.
    """
    stream_name = _select_stream(store, stream)
    rows = {
        split: build_manifest_rows(store.get_records(split), split, epoch) for split in store.splits
    }
    if augmented_copies is not None and "train" in rows:
        rows["train"] = [
            make_augmented_row(row, epoch, augmented_copies.num_copies) for row in rows["train"]
        ]
    # All rows are checked before anything is written or removed.
    check_manifest_rows(rows)
    _prepare_output_dir(out, overwrite)
    rate_hz = store.schema.streams[stream_name].rate_hz
    note = {"store": store.fingerprint, "stream": stream_name, "rate_hz": rate_hz}
    # Written first, so that an interrupted export can be replaced with `overwrite`.
    write_bytes_durably(out / EXPORT_MARKER, f"{json.dumps(note, indent=1)}\n".encode())
    num_done, total = 0, sum(map(len, rows.values()))
    for split, split_rows in rows.items():
        lines = ["\t".join(MANIFEST_COLUMNS)]
        for row in split_rows:
            length = _write_row_files(store, out / FEATURES_DIR, stream_name, row, augmented_copies)
            lines.append(f"{row.name}\t{length}\t{row.label}")
            num_done += 1
            if progress is not None:
                progress(num_done, total)
        table = "".join(f"{line}\n" for line in lines)
        write_bytes_durably(
            out / MANIFESTS_FOLDER / f"{_MANIFEST_NAMES[split]}_features.tsv", table.encode()
        )
    return SsvpExportResult(
        stream=stream_name,
        width=store.schema.streams[stream_name].width,
        rate_hz=store.schema.streams[stream_name].rate_hz,
        clips={split: len(own) for split, own in rows.items()},
        epochs=dict(Counter(c.epoch for row in rows.get("train", ()) for c in row.files)),
        references_left=sum(max(0, len(row.texts) - 1) for own in rows.values() for row in own),
    )


def build_augmented_copies(recipe: Recipe, store: Store, num_copies: int) -> AugmentedCopies:
    """Build augmented copies of train that match the first epochs of a run of the recipe.

    Args:
        recipe: Recipe with the augmentation and the seed.
        store: Store with the clips of train.
        num_copies: Number of copies per clip.

    Raises:
        InputError: If the recipe enables no augmentation, or the augmentation cannot handle these
            features.
        StoreError: If the store has no split `train`.
    """
    # Streams in `recipe.augmentation_pairs` are references that follow another stream; they do not
    # count towards the length.
    longest = max(
        sum(
            frames
            for name, frames in record.lengths.items()
            if name not in recipe.augmentation_pairs
        )
        for record in store.get_records("train")
    )
    config, seed = recipe.batch.augmentation, recipe.training.seed
    augmentation = build_augmentation(
        config, store.schema, seed, longest, recipe.augmentation_pairs
    )
    if augmentation is None:
        raise InputError(
            "`batch.augmentation` of the recipe enables no augmentation, so all copies would be"
            " identical; set for example batch.augmentation.speed=0.2"
        )
    return AugmentedCopies(augmentation, num_copies)


def _select_stream(store: Store, requested: str | None) -> str:
    """Select the stream to export and return its name.

    Raises:
        InputError: If there is no stream of this name, or there are several and no name is given.
    """
    stream_names = list(store.schema.streams)
    if requested is None and len(stream_names) == 1:
        return stream_names[0]
    if requested not in stream_names:
        problem = "has several streams" if requested is None else f"has no stream `{requested}`"
        raise InputError(
            f"the store {problem}; choose one with `--stream`: {', '.join(stream_names)}"
        )
    return requested


def _prepare_output_dir(out: Path, overwrite: bool) -> None:
    """Check that the folder can be written to; remove an earlier export if `overwrite` is set.

    Raises:
        InputError: If the folder holds anything else, or an export without `overwrite`.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / EXPORT_MARKER).is_file():
        raise InputError(f"`{out}` exists and is not an earlier export; choose a new folder")
    if not overwrite:
        raise InputError(
            f"`{out}` contains an earlier export; choose a new folder, or replace it with"
            " `--overwrite`"
        )
    # Manifests first, so that an interruption leaves no manifest without its features.
    for folder in (MANIFESTS_FOLDER, FEATURES_DIR):
        shutil.rmtree(out / folder, ignore_errors=True)


def _write_row_files(
    store: Store,
    folder: Path,
    stream: str,
    row: ManifestRow,
    augmented_copies: AugmentedCopies | None,
) -> int:
    """Write the feature files of a row; return the number of frames of the first."""
    # Importing torch takes seconds; invalid rows are reported before that.
    import torch

    lengths = []
    for feature_file, x_LD in _iter_row_features(store, stream, row, augmented_copies):
        buffer = io.BytesIO()
        torch.save(torch.from_numpy(np.array(x_LD, np.float32)), buffer)
        write_bytes_durably(
            folder / get_feature_path(feature_file.epoch, row.name), buffer.getbuffer()
        )
        lengths.append(len(x_LD))
    return lengths[0]


def _iter_row_features(
    store: Store, stream: str, row: ManifestRow, augmented_copies: AugmentedCopies | None
) -> Iterator[tuple[FeatureFile, NDArray[np.floating]]]:
    """Yield each feature file of a row with its features, (L, D), augmented if requested."""
    for feature_file in row.files:
        streams: Mapping[str, NDArray[np.floating]] = store.get_features(feature_file.record)
        if augmented_copies is not None and feature_file.augmentation_epoch is not None:
            streams = augmented_copies.augmentation(
                streams, feature_file.record.clip.id, feature_file.augmentation_epoch
            )
        yield feature_file, streams[stream]
