"""The export of all streams of a store as Sign_LLaVA annotations and HDF5 shards.

The export consists of `annotation.{train,dev,test}.json` and, for each stream, of
`{stream}/{stream}.{split}.N.h5` and `{stream}/metadata_{stream}.{split}.json`. An `h5_shards`
source reads it back bit-identical, with all texts and keywords. The layout cannot hold prompts,
glosses, signers, languages, augmented texts and frame rates: omitted values are counted, and the
rates are reported.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from kinesweep.core.errors import InputError
from kinesweep.sources.precomputed.shard_index import format_metadata_name, format_shard_name
from kinesweep.store.export.export_marker import read_marker, write_marker
from kinesweep.store.export.file_names import sanitize_file_name
from kinesweep.store.export.frame_streams import refuse_frames
from kinesweep.store.export.h5_layout import (
    ClipsByVideo,
    build_annotation,
    group_by_video,
    split_into_shards,
)
from kinesweep.store.export.stream_check import check_clips_have_streams
from kinesweep.store.format.reader import Store
from kinesweep.store.format.writer import write_bytes_durably

LAYOUT_NAME = "h5_shards"
_SPLIT_NAMES = {"train": "train", "validation": "dev", "test": "test"}
_DEFAULT_SHARD_BYTES = 1_000_000_000
_UNSUPPORTED_FIELDS = (
    *("encoder_prompt", "decoder_prompt", "gloss", "signer", "language", "augmented_texts"),
)


@dataclass(frozen=True)
class H5ExportResult:
    """The result of an export to HDF5 shards.

    Attributes:
        source: `source` section of a recipe that reads the export, with paths relative to its
            folder; a stream whose clips differ in frame rate has no `fps`.
        clips: Split → number of clips.
        left: Name of a clip field that the layout cannot hold → number of clips whose value was
            omitted.
    """

    source: dict[str, Any]
    clips: dict[str, int]
    left: dict[str, int]


def export_h5_shards(
    store: Store,
    output_dir: Path,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    shard_bytes: int = _DEFAULT_SHARD_BYTES,
) -> H5ExportResult:
    """Export all streams of a store as HDF5 shards and annotations in Sign_LLaVA's layout.

    Args:
        store: Store to export.
        output_dir: Output folder; new, empty, or an earlier export that may be replaced.
        overwrite: Whether to replace an earlier export of this layout in `output_dir`.
        progress: Callback that receives the number of written clips and the number of all clips,
            both summed over the streams, after every clip of every stream.
        shard_bytes: Approximate size of a shard of the widest stream in bytes.

    Raises:
        InputError: If a stream holds frames, the folder contains anything but an earlier export
            that may be replaced, two clips or videos would get the same name, or a clip lacks a
            stream.
        StoreError: If a shard is damaged.
    """
    # All of this is checked here, before anything is written or removed.
    refuse_frames(store.schema, store.schema.streams)
    check_clips_have_streams(store, store.schema.streams)
    splits = {split: group_by_video(store.get_records(split)) for split in store.splits}
    _prepare_output_dir(output_dir, overwrite)
    # Written first, so that an interrupted export can be replaced with `overwrite`.
    marker = {"store": store.fingerprint, "streams": list(store.schema.streams)}
    write_marker(output_dir, LAYOUT_NAME, marker)
    clips = {split: len(store.get_records(split)) for split in splits}
    num_written, num_to_write = 0, sum(clips.values()) * len(store.schema.streams)

    def report_clip_written() -> None:
        """Count one clip of one stream and report the progress."""
        nonlocal num_written
        num_written += 1
        if progress is not None:
            progress(num_written, num_to_write)

    for split, videos in splits.items():
        # All streams of a split use the same division into shards.
        shards = split_into_shards(store, videos, shard_bytes)
        _write_split(store, output_dir, split, shards, report_clip_written)
    return H5ExportResult(_build_source_config(store), clips, _count_omitted_fields(store))


def _count_omitted_fields(store: Store) -> dict[str, int]:
    """Count the clips of a store by the fields that the layout cannot hold.

    Returns:
        Name of the field → number of clips with a value, at least 1.
    """
    records = [record for split in store.splits for record in store.get_records(split)]
    counts = Counter(
        field for record in records for field in _UNSUPPORTED_FIELDS if getattr(record.clip, field)
    )
    # The layout has one array per clip, that of the first epoch.
    counts["further epochs"] = sum(bool(record.epoch_lengths) for record in records)
    fields = (*_UNSUPPORTED_FIELDS, "further epochs")
    return {field: counts[field] for field in fields if counts[field]}


def _get_annotation_name(split: str) -> str:
    """Return the file name of a split's annotation."""
    return f"annotation.{_SPLIT_NAMES[split]}.json"


def _build_source_config(store: Store) -> dict[str, Any]:
    """Build the `source` section of a recipe that reads the export.

    Paths in it are relative to the folder of the export. A stream whose clips differ in frame rate
    has no `fps`.
    """
    stream_configs: list[dict[str, Any]] = []
    for name, stream in store.schema.streams.items():
        fps = {} if stream.rate_hz is None else {"fps": stream.rate_hz}
        stream_configs.append({"name": name, **fps, "width": stream.width})
    annotation_names = {split: _get_annotation_name(split) for split in store.splits}
    return {"kind": LAYOUT_NAME, **annotation_names, "streams": stream_configs}


def _write_split(
    store: Store,
    output_dir: Path,
    split: str,
    shards: Sequence[ClipsByVideo],
    on_clip_written: Callable[[], None],
) -> None:
    """Write the shards of all streams of a split, and then its annotation.

    Args:
        store: Store to export.
        output_dir: Output folder of the export.
        split: Name of the split in the store.
        shards: Videos of each shard.
        on_clip_written: Callback that is called without arguments after every clip of every stream.

    Raises:
        StoreError: If a shard of the store is damaged.
    """
    for stream in store.schema.streams:
        _write_stream_shards(
            store, output_dir / stream, stream, _SPLIT_NAMES[split], shards, on_clip_written
        )
    annotations = {
        video: build_annotation(clips) for videos in shards for video, clips in videos.items()
    }
    # The annotation is written last: a split that has one is complete.
    _write_json_durably(output_dir / _get_annotation_name(split), annotations)


def _write_stream_shards(
    store: Store,
    folder: Path,
    stream: str,
    split_name: str,
    shards: Sequence[ClipsByVideo],
    on_clip_written: Callable[[], None],
) -> None:
    """Write the shards of a stream and split, then the metadata that maps videos to shards.

    Args:
        store: Store to export.
        folder: Folder of the stream; created if missing.
        stream: Name of the feature stream.
        split_name: Name of the split in file names: train, dev or test.
        shards: Videos of each shard.
        on_clip_written: Callback that is called without arguments after every clip.

    Raises:
        StoreError: If a shard of the store is damaged.
    """
    folder.mkdir(exist_ok=True)
    for shard_index, videos in enumerate(shards):
        path = folder / format_shard_name(stream, split_name, str(shard_index))
        # h5py needs a path to write to, so `write_bytes_durably` cannot be used; same steps:
        # sync, then rename.
        temp_path = path.with_name(f".{path.name}")
        with h5py.File(temp_path, "w") as file:
            for video, clips in videos.items():
                group = file.create_group(video)
                for name, record in clips.items():
                    group.create_dataset(name, data=store.get_features(record)[stream])
                    on_clip_written()
        with temp_path.open("rb+") as shard_file:
            os.fsync(shard_file.fileno())
        temp_path.replace(path)
    shard_by_video = {
        video: shard_index for shard_index, videos in enumerate(shards) for video in videos
    }
    _write_json_durably(folder / format_metadata_name(stream, split_name), shard_by_video)


def _write_json_durably(path: Path, value: object) -> None:
    """Write a value to a file as indented JSON, atomically and durably."""
    write_bytes_durably(path, f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode())


def _prepare_output_dir(output_dir: Path, overwrite: bool) -> None:
    """Create the output folder, or remove the annotations and streams of an earlier export in it.

    Other files of the earlier export stay.

    Args:
        output_dir: Output folder of the export.
        overwrite: Whether an earlier export may be removed.

    Raises:
        InputError: If the folder contains anything but an export of this layout, or an export that
            may not be removed.
    """
    if not output_dir.exists() or (output_dir.is_dir() and not any(output_dir.iterdir())):
        output_dir.mkdir(parents=True, exist_ok=True)
        return
    streams = _read_exported_streams(output_dir)
    if not streams:
        raise InputError(
            f"`{output_dir}` exists and is not an earlier export of this layout;"
            " choose a new folder"
        )
    if not overwrite:
        raise InputError(
            f"`{output_dir}` contains an earlier export; choose a new folder, or replace it with"
            " `--overwrite`"
        )
    # Annotations first: a split that has one is complete, also after an interruption.
    for split in _SPLIT_NAMES:
        (output_dir / _get_annotation_name(split)).unlink(missing_ok=True)
    for stream in streams:
        shutil.rmtree(output_dir / stream, ignore_errors=True)


def _read_exported_streams(output_dir: Path) -> list[str]:
    """Read the names of the streams of an earlier export, which are the names of its folders.

    Returns:
        The names. Empty if there is no export of this layout, or if its marker was edited so that
        a name does not stand for a folder directly below the output folder.
    """
    try:
        marker = read_marker(output_dir, LAYOUT_NAME)
        streams = list(marker["streams"]) if marker is not None else []
    except (KeyError, TypeError):
        return []
    # These folders are removed: an empty name would stand for `output_dir` itself, and `..` for
    # another folder.
    if not all(
        isinstance(name, str) and name and name == sanitize_file_name(name) for name in streams
    ):
        return []
    return streams
