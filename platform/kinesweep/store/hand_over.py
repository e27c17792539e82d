"""Hands a store's features to other systems: SSVP-SLT's manifests and trees of `.pt` files.

Written are `features/{epoch}/{name[:5]}/{name}.pt`, float32 (L, D), and, after all of them,
`manifests/{train,val,test}_features.tsv` with `video_name, length, label`; a source of the kind
`feature_manifest` reads both back, from a float32 store to the bit. Names and epochs follow from
the clips' ids (`hand_over_rows`). The layout has one text a clip: further references are counted. A
file is on the disk before it gets its name, so some 800 are written a second; within Kinesweep,
share the store.

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

from kinesweep.core.errors import InputError
from kinesweep.core.recipe import Recipe
from kinesweep.features.augmentation import Augmentation, build_augmentation
from kinesweep.sources.feature_manifest import COLUMNS, FEATURES_FOLDER, file_of
from kinesweep.store.hand_over_rows import Copy, Row, check_rows, rows_of, varied
from kinesweep.store.reader import Store
from kinesweep.store.writer import write_durably

MANIFESTS_FOLDER = "manifests"
NOTE = "handed_over.json"
"""Says whose features they are; a folder that holds it may be replaced."""
_FILES = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Variation:
    """Varied copies of train, in place of its clips.

    Attributes:
        augmentation: makes them.
        count: how many of each clip.
    """

    augmentation: Augmentation
    count: int


@dataclass(frozen=True)
class HandOver:
    """What was written.

    Attributes:
        stream: whose features.
        width: D.
        rate_hz: of them, as a source that reads them back must be told; None: clips differ.
        clips: split → rows of its manifest.
        epochs: epoch → files of train; fewer than rows where the store lacks copies.
        references_left: texts beyond the first of their clip, which the layout has no place for.
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
) -> HandOver:
    """Writes a stream of a store.

    Args:
        store: the features.
        out: a new or empty folder.
        stream: which, where the store has several.
        epoch: number of the folder of clips whose ids name none, and of the first varied copies.
        variation: what train becomes.
        overwrite: replace what an earlier hand-over wrote to `out`.
        progress: told of every row.

    Raises:
        InputError: no such stream, a folder that holds something, names that clash, a text that no
            manifest can hold, or variations of what has copies already.
        StoreError: a shard is damaged.
    """
    chosen = _stream(store, stream)
    rows = {split: rows_of(store.records(split), split, epoch) for split in store.splits}
    if variation is not None and "train" in rows:
        rows["train"] = [varied(row, epoch, variation.count) for row in rows["train"]]
    check_rows(rows)
    _make_room(out, overwrite)
    rate_hz = store.schema.streams[chosen].rate_hz
    note = {"store": store.fingerprint, "stream": chosen, "rate_hz": rate_hz}
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
    return HandOver(
        stream=chosen,
        width=store.schema.streams[chosen].width,
        rate_hz=store.schema.streams[chosen].rate_hz,
        clips={split: len(own) for split, own in rows.items()},
        epochs=dict(Counter(c.epoch for row in rows.get("train", ()) for c in row.copies)),
        references_left=sum(max(0, len(row.texts) - 1) for own in rows.values() for row in own),
    )


def variation_of(recipe: Recipe, store: Store, count: int) -> Variation:
    """Copies of train as a run of the recipe sees them in its first epochs.

    Raises:
        InputError: the recipe varies nothing, or cannot vary these features.
        StoreError: the store has no train.
    """
    longest = max(
        sum(frames for name, frames in record.lengths.items() if name not in recipe.alike)
        for record in store.records("train")
    )
    config, seed = recipe.batch.augmentation, recipe.training.seed
    augmentation = build_augmentation(config, store.schema, seed, longest, recipe.alike)
    if augmentation is None:
        raise InputError(
            "`batch.augmentation` of the recipe varies nothing, so all copies would be the same;"
            " set for example batch.augmentation.speed=0.2"
        )
    return Variation(augmentation, count)


def _stream(store: Store, wanted: str | None) -> str:
    """The stream that is meant.

    Raises:
        InputError: there is none of this name, or several and no name.
    """
    known = list(store.schema.streams)
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted not in known:
        what = "has several streams" if wanted is None else f"has no stream `{wanted}`"
        raise InputError(f"the store {what}; choose one with `--stream`: {', '.join(known)}")
    return wanted


def _make_room(out: Path, overwrite: bool) -> None:
    """Refuses a folder that holds something; removes an earlier hand-over where that is asked for.

    Raises:
        InputError: it holds something else, or nobody asked.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / NOTE).is_file():
        raise InputError(f"`{out}` is there already, and is no hand-over; name a new folder")
    if not overwrite:
        raise InputError(f"`{out}` holds a hand-over; name a new folder, or replace: `--overwrite`")
    for folder in (MANIFESTS_FOLDER, FEATURES_FOLDER):
        shutil.rmtree(out / folder, ignore_errors=True)


def _write(store: Store, folder: Path, stream: str, row: Row, variation: Variation | None) -> int:
    """Writes a row's files; frames of the first."""
    import torch  # seconds; faulty rows are reported without it

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
    """Each file of a row, and what it holds, (L, D)."""
    for copy in row.copies:
        streams: Mapping[str, NDArray[np.floating]] = store.features(copy.record)
        if variation is not None and copy.varied is not None:
            streams = variation.augmentation(streams, copy.record.clip.id, copy.varied)
        yield copy, streams[stream]
