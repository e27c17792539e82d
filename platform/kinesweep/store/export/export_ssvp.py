"""The export of a stream of a store as SSVP-SLT manifests and a tree of `.pt` files.

The export consists of `features/{epoch}/{name[:5]}/{name}.pt`, float32 (T, D), and of
`manifests/{train,val,test}_features.tsv` with the columns `video_name, length, label`, each written
after the features of its split. A `feature_manifest` source reads the export back, bit-identical
for a float32 store. Names and epochs are derived from clip ids (`export_rows`). The layout holds
one text per clip; the number of omitted references is reported. Each file is synced to disk before
it gets its final name, which limits the export to about 800 files per second. Within Kinesweep,
share the store instead.

Shapes: T frames, D width.
"""

import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.tables.table_writing import format_table
from kinesweep.sources.precomputed.feature_manifest import (
    FEATURES_DIR,
    MANIFEST_COLUMNS,
    get_feature_path,
)
from kinesweep.store.export.augmented_copies import AugmentedCopiesSpec
from kinesweep.store.export.export_marker import EXPORT_MARKER, read_marker, write_marker
from kinesweep.store.export.export_rows import (
    FeatureFile,
    ManifestRow,
    build_manifest_rows,
    check_manifest_rows,
    make_augmented_row,
)
from kinesweep.store.export.frame_streams import refuse_frames
from kinesweep.store.export.stream_check import check_clips_have_streams
from kinesweep.store.format.reader import Store
from kinesweep.store.format.writer import write_bytes_durably

MANIFESTS_FOLDER = "manifests"
LAYOUT_NAME = "feature_manifest"
_MANIFEST_NAMES = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class SsvpExportResult:
    """The result of an export in SSVP-SLT's layout.

    Attributes:
        stream: Name of the exported stream.
        width: Values per frame, D.
        rate_hz: Frame rate to configure in a source that reads the export; None if clips differ.
        clips: Split → number of rows of its manifest.
        epochs: Epoch → number of feature files of train; smaller than the number of rows if the
            store lacks copies for that epoch.
        references_left: Number of omitted reference translations, that is, all texts after the
            first one of each clip.
    """

    stream: str
    width: int
    rate_hz: float | None
    clips: dict[str, int]
    epochs: dict[int, int]
    references_left: int


def export_ssvp_features(
    store: Store,
    output_dir: Path,
    stream: str | None = None,
    epoch: int = 0,
    augmented_copies: AugmentedCopiesSpec | None = None,
    overwrite: bool = False,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> SsvpExportResult:
    """Export a stream of a store as SSVP-SLT manifests and feature files.

    Args:
        store: Store to export.
        output_dir: Output folder; new, empty, or an earlier export that may be replaced.
        stream: Name of the feature stream; required if the store has several.
        epoch: Epoch folder for clips whose IDs contain no epoch; also the first epoch of augmented
            copies.
        augmented_copies: Specification of copies to write instead of the clips of train; None
            writes the clips unchanged.
        overwrite: Whether to replace an earlier export in `output_dir`.
        progress: Callback that receives the numbers of written and of all manifest rows after every
            row.

    Raises:
        InputError: If the stream does not exist or holds frames, the folder contains anything but
            an earlier export that may be replaced, names clash, a manifest cannot hold a text, or
            augmentation is requested for clips that already have copies.
        StoreError: If a shard is damaged.
    """
    stream_name = _select_stream(store, stream)
    refuse_frames(store.schema, [stream_name])
    check_clips_have_streams(store, [stream_name])
    # All rows are checked before anything is written or removed.
    rows = _build_checked_rows(store, epoch, augmented_copies)
    _prepare_output_dir(output_dir, overwrite)
    # Written first, so that an interrupted export can be replaced with `overwrite`.
    rate_hz = store.schema.streams[stream_name].rate_hz
    marker = {"store": store.fingerprint, "stream": stream_name, "rate_hz": rate_hz}
    write_marker(output_dir, LAYOUT_NAME, marker)
    num_written, num_rows = 0, sum(map(len, rows.values()))
    for split, split_rows in rows.items():
        manifest_rows: list[tuple[object, ...]] = [MANIFEST_COLUMNS]
        for row in split_rows:
            num_frames = _write_row_files(
                store, output_dir / FEATURES_DIR, stream_name, row, augmented_copies
            )
            manifest_rows.append((row.name, num_frames, row.label))
            num_written += 1
            if progress is not None:
                progress(num_written, num_rows)
        write_bytes_durably(
            output_dir / MANIFESTS_FOLDER / f"{_MANIFEST_NAMES[split]}_features.tsv",
            format_table(manifest_rows).encode(),
        )
    return _summarize_export(store, stream_name, rows)


def _build_checked_rows(
    store: Store, epoch: int, augmented_copies: AugmentedCopiesSpec | None
) -> dict[str, list[ManifestRow]]:
    """Build the manifest rows of all splits and check that they can be written.

    Args:
        store: Store to export.
        epoch: Epoch folder for clips whose IDs contain no epoch.
        augmented_copies: Specification of copies to write instead of the clips of train.

    Returns:
        Split → rows of its manifest.

    Raises:
        InputError: If names clash, a manifest cannot hold a text, or augmentation is requested for
            clips that already have copies.
    """
    rows = {
        split: build_manifest_rows(store.get_records(split), split, epoch) for split in store.splits
    }
    if augmented_copies is not None and "train" in rows:
        rows["train"] = [
            make_augmented_row(row, epoch, augmented_copies.num_copies) for row in rows["train"]
        ]
    check_manifest_rows(rows)
    return rows


def _summarize_export(
    store: Store, stream: str, rows: Mapping[str, Sequence[ManifestRow]]
) -> SsvpExportResult:
    """Summarize a finished export as its result.

    Args:
        store: Exported store.
        stream: Name of the exported stream.
        rows: Split → rows of its manifest.
    """
    schema = store.schema.streams[stream]
    return SsvpExportResult(
        stream=stream,
        width=schema.width,
        rate_hz=schema.rate_hz,
        clips={split: len(split_rows) for split, split_rows in rows.items()},
        epochs=dict(Counter(file.epoch for row in rows.get("train", ()) for file in row.files)),
        references_left=sum(
            max(0, len(row.texts) - 1) for split_rows in rows.values() for row in split_rows
        ),
    )


def _select_stream(store: Store, requested_name: str | None) -> str:
    """Select the feature stream to export and return its name.

    Args:
        store: Store to export.
        requested_name: Name of the stream; None selects the only one.

    Raises:
        InputError: If there is no stream of this name, or there are several and no name is given.
    """
    stream_names = list(store.schema.streams)
    if requested_name is None and len(stream_names) == 1:
        return stream_names[0]
    if requested_name not in stream_names:
        problem = (
            "has several streams" if requested_name is None else f"has no stream `{requested_name}`"
        )
        raise InputError(
            f"the store {problem}; choose one with `--stream`: {', '.join(stream_names)}"
        )
    return requested_name


def _prepare_output_dir(output_dir: Path, overwrite: bool) -> None:
    """Check an output folder, and remove the manifests and features of an earlier export in it.

    A folder with a marker of this layout counts as an export. Other files in it
    stay.

    Args:
        output_dir: Output folder of the export.
        overwrite: Whether an earlier export may be removed.

    Raises:
        InputError: If the folder contains anything but an export, or an export that may not be
            removed.
    """
    if not output_dir.exists() or (output_dir.is_dir() and not any(output_dir.iterdir())):
        return
    # Earlier versions wrote markers without a layout.
    if read_marker(output_dir, LAYOUT_NAME, default_layout=LAYOUT_NAME) is None:
        raise InputError(
            f"`{output_dir}` exists and is not an earlier export (its `{EXPORT_MARKER}` is missing"
            " or names another layout); choose a new folder"
        )
    if not overwrite:
        raise InputError(
            f"`{output_dir}` contains an earlier export; choose a new folder, or replace it with"
            " `--overwrite`"
        )
    # Manifests first, so that an interruption leaves no manifest without its features.
    for folder_name in (MANIFESTS_FOLDER, FEATURES_DIR):
        shutil.rmtree(output_dir / folder_name, ignore_errors=True)


def _write_row_files(
    store: Store,
    folder: Path,
    stream: str,
    row: ManifestRow,
    augmented_copies: AugmentedCopiesSpec | None,
) -> int:
    """Write the feature files of a manifest row and return the number of frames of the first.

    Args:
        store: Store to export.
        folder: Folder of the feature files.
        stream: Name of the feature stream.
        row: Row whose files are written.
        augmented_copies: Augmentation of the files that have an `augmentation_epoch`.

    Raises:
        StoreError: If a shard is damaged.
    """
    # Importing torch takes seconds; invalid rows are reported before that.
    import torch

    nums_frames = []
    for feature_file, x_TD in _iter_row_features(store, stream, row, augmented_copies):
        buffer = io.BytesIO()
        torch.save(torch.from_numpy(np.array(x_TD, np.float32)), buffer)
        write_bytes_durably(
            folder / get_feature_path(feature_file.epoch, row.name), buffer.getbuffer()
        )
        nums_frames.append(len(x_TD))
    return nums_frames[0]


def _iter_row_features(
    store: Store, stream: str, row: ManifestRow, augmented_copies: AugmentedCopiesSpec | None
) -> Iterator[tuple[FeatureFile, NDArray[np.floating]]]:
    """Compute the features of each feature file of a manifest row.

    Args:
        store: Store to export.
        stream: Name of the feature stream.
        row: Row whose files are computed.
        augmented_copies: Augmentation of the files that have an `augmentation_epoch`.

    Yields:
        Feature file and its features, (T, D), in the order of the row.

    Raises:
        StoreError: If a shard is damaged.
    """
    for feature_file in row.files:
        streams: Mapping[str, NDArray[np.floating]] = store.get_features(feature_file.record)
        if augmented_copies is not None and feature_file.augmentation_epoch is not None:
            streams = augmented_copies.augmentation(
                streams, feature_file.record.clip.id, feature_file.augmentation_epoch
            )
        yield feature_file, streams[stream]
