"""Exports a stream of a store as SSVP-SLT manifests and a tree of `.pt` files.

The export consists of `features/{epoch}/{name[:5]}/{name}.pt`, float32 (L, D), and of
`manifests/{train,val,test}_features.tsv` with the columns `video_name, length, label`, each written
after the features of its split. A `feature_manifest` source reads the export back, bit-identical
for a float32 store. Names and epochs are derived from clip ids (`hand_over_rows`). The layout holds
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
from kinesweep.sources.precomputed.feature_manifest import COLUMNS, FEATURES_FOLDER, file_of
from kinesweep.store.export.export_rows import Copy, Row, check_rows, rows_of, varied
from kinesweep.store.format.reader import Store
from kinesweep.store.format.writer import write_durably

MANIFESTS_FOLDER = "manifests"
NOTE = "handed_over.json"
"""File that records the source store; only a folder that contains it may be overwritten."""
_FILES = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Variation:
    """Augmented copies that replace the clips of train.

    Attributes:
        augmentation: Augmentation that creates the copies.
        count: Number of copies per clip.
    """

    augmentation: Augmentation
    count: int


@dataclass(frozen=True)
class ExportResult:
    """The result of an export.

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


def hand_over(
    store: Store,
    out: Path,
    stream: str | None = None,
    epoch: int = 0,
    variation: Variation | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportResult:
    """Export a stream of a store.

    Args:
        store: Store to export.
        out: New or empty folder.
        stream: Name of the stream; required if the store has several.
        epoch: Epoch folder for clips whose ids name none; also the first epoch of augmented copies.
        variation: Augmented copies to write instead of the clips of train.
        overwrite: Replace an earlier export in `out`.
        progress: Callback that is called after every row.

    Raises:
        InputError: If the stream does not exist, the folder is not empty, names clash, a manifest
            cannot hold a text, or augmentation is requested for clips that already have copies.
        StoreError: If a shard is damaged.
    """
    chosen = _stream(store, stream)
    rows = {split: rows_of(store.records(split), split, epoch) for split in store.splits}
    if variation is not None and "train" in rows:
        rows["train"] = [varied(row, epoch, variation.count) for row in rows["train"]]
    # All rows are checked before anything is written or removed.
    check_rows(rows)
    _prepare_output_dir(out, overwrite)
    rate_hz = store.schema.streams[chosen].rate_hz
    note = {"store": store.fingerprint, "stream": chosen, "rate_hz": rate_hz}
    # Written first, so that an interrupted export can be replaced with `overwrite`.
    write_durably(out / NOTE, f"{json.dumps(note, indent=1)}\n".encode())
    done, total = 0, sum(map(len, rows.values()))
    for split, own in rows.items():
        lines = ["\t".join(COLUMNS)]
        for row in own:
            length = _write(store, out / FEATURES_FOLDER, chosen, row, variation)
            lines.append(f"{row.name}\t{length}\t{row.label}")
            done += 1
            if progress is not None:
                progress(done, total)
        table = "".join(f"{line}\n" for line in lines)
        write_durably(out / MANIFESTS_FOLDER / f"{_FILES[split]}_features.tsv", table.encode())
    return ExportResult(
        stream=chosen,
        width=store.schema.streams[chosen].width,
        rate_hz=store.schema.streams[chosen].rate_hz,
        clips={split: len(own) for split, own in rows.items()},
        epochs=dict(Counter(c.epoch for row in rows.get("train", ()) for c in row.copies)),
        references_left=sum(max(0, len(row.texts) - 1) for own in rows.values() for row in own),
    )


def variation_of(recipe: Recipe, store: Store, count: int) -> Variation:
    """Return augmented copies of train that match the first epochs of a run of the recipe.

    Args:
        recipe: Recipe with the augmentation and the seed.
        store: Store with the clips of train.
        count: Number of copies per clip.

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
        for record in store.records("train")
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
    return Variation(augmentation, count)


def _stream(store: Store, wanted: str | None) -> str:
    """Return the name of the stream to export.

    Raises:
        InputError: If there is no stream of this name, or there are several and no name is given.
    """
    known = list(store.schema.streams)
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted not in known:
        what = "has several streams" if wanted is None else f"has no stream `{wanted}`"
        raise InputError(f"the store {what}; choose one with `--stream`: {', '.join(known)}")
    return wanted


def _prepare_output_dir(out: Path, overwrite: bool) -> None:
    """Raise an error if the folder is in use; remove an earlier export if `overwrite` is set.

    Raises:
        InputError: If the folder holds anything else, or an export without `overwrite`.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / NOTE).is_file():
        raise InputError(f"`{out}` exists and is not an earlier export; choose a new folder")
    if not overwrite:
        raise InputError(
            f"`{out}` contains an earlier export; choose a new folder, or replace it with"
            " `--overwrite`"
        )
    # Manifests first, so that an interruption leaves no manifest without its features.
    for folder in (MANIFESTS_FOLDER, FEATURES_FOLDER):
        shutil.rmtree(out / folder, ignore_errors=True)


def _write(store: Store, folder: Path, stream: str, row: Row, variation: Variation | None) -> int:
    """Write the files of a row; return the number of frames of the first."""
    # Importing torch takes seconds; invalid rows are reported before that.
    import torch

    lengths = []
    for copy, x_LD in _features(store, stream, row, variation):
        file = io.BytesIO()
        torch.save(torch.from_numpy(np.array(x_LD, np.float32)), file)
        write_durably(folder / file_of(copy.epoch, row.name), file.getbuffer())
        lengths.append(len(x_LD))
    return lengths[0]


def _features(
    store: Store, stream: str, row: Row, variation: Variation | None
) -> Iterator[tuple[Copy, NDArray[np.floating]]]:
    """Yield each file of a row with its features, (L, D)."""
    for copy in row.copies:
        streams: Mapping[str, NDArray[np.floating]] = store.features(copy.record)
        if variation is not None and copy.varied is not None:
            streams = variation.augmentation(streams, copy.record.clip.id, copy.varied)
        yield copy, streams[stream]
