"""The export of all streams of a store as Sign_LLaVA annotations and HDF5 shards.

The export consists of `annotation.{train,dev,test}.json` and, for each stream, of
`{stream}/{stream}.{split}.N.h5` and `{stream}/metadata_{stream}.{split}.json`. An `h5_shards`
source reads it back bit-identical, with all texts and keywords. A video is a document of the store,
or a clip without a document. The layout cannot hold prompts, glosses, signers, languages and frame
rates: omitted values are counted, and the rates are reported. Shards are split between videos at
about 1 GB.

Shapes: T frames, D width.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.sources.precomputed.annotation import ORDER_KEY
from kinesweep.sources.precomputed.shard_index import format_metadata_name, format_shard_name
from kinesweep.store.export.export_rows import sanitize_name
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store
from kinesweep.store.format.writer import write_bytes_durably

EXPORT_MARKER = "handed_over.json"
"""File that records source store and streams; only a folder with it may be overwritten."""
LAYOUT_NAME = "h5_shards"
_SPLIT_NAMES = {"train": "train", "validation": "dev", "test": "test"}
_DEFAULT_SHARD_BYTES = 1_000_000_000
_UNSUPPORTED_FIELDS = ("encoder_prompt", "decoder_prompt", "gloss", "signer", "language")

ClipsByVideo = dict[str, dict[str, ClipRecord]]
"""Name of the video → name of the clip → record, both in order."""


@dataclass(frozen=True)
class H5ExportResult:
    """The result of an export to HDF5 shards.

    Attributes:
        source: `source` section of a recipe that reads the export, with paths relative to its
            folder; a stream whose clips differ in frame rate has no `fps`.
        clips: Split → number of clips.
        left: Omitted clip field, which the layout cannot hold → number of clips that had a value.
    """

    source: dict[str, Any]
    clips: dict[str, int]
    left: dict[str, int]


def export_h5_shards(
    store: Store,
    out: Path,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    shard_bytes: int = _DEFAULT_SHARD_BYTES,
) -> H5ExportResult:
    """Export all streams of a store as HDF5 shards and annotations in Sign_LLaVA's layout.

    Args:
        store: Store to export.
        out: New or empty folder.
        overwrite: Replace an earlier export of this layout in `out`.
        progress: Callback that is called after every clip and stream.
        shard_bytes: Approximate size of a shard in bytes.

    Raises:
        InputError: If the folder is not empty, or names clash.
        StoreError: If a shard is damaged.
    """
    # Names are checked here, before anything is written or removed.
    splits = {split: _group_by_video(store.get_records(split)) for split in store.splits}
    _prepare_output_dir(out, overwrite)
    note = {
        "layout": LAYOUT_NAME,
        "store": store.fingerprint,
        "streams": list(store.schema.streams),
    }
    # Written first, so that an interrupted export can be replaced with `overwrite`.
    write_bytes_durably(out / EXPORT_MARKER, f"{json.dumps(note, indent=1)}\n".encode())
    clips = {split: len(store.get_records(split)) for split in splits}
    num_done, total = 0, sum(clips.values()) * len(store.schema.streams)

    def report_clip_written() -> None:
        """Count one clip of one stream and report progress."""
        nonlocal num_done
        num_done += 1
        if progress is not None:
            progress(num_done, total)

    for split, videos in splits.items():
        # All streams of a split use the same division into shards.
        shards = _split_into_shards(store, videos, shard_bytes)
        for stream in store.schema.streams:
            _write_stream_shards(
                store, out / stream, stream, _SPLIT_NAMES[split], shards, report_clip_written
            )
        annotations = {
            video: _build_annotation(video_clips) for video, video_clips in videos.items()
        }
        # The annotation is written last: a split that has one is complete.
        _write_json_durably(out / _get_annotation_name(split), annotations)
    records = [record for split in splits for record in store.get_records(split)]
    counts = Counter(
        n for record in records for n in _UNSUPPORTED_FIELDS if getattr(record.clip, n)
    )
    return H5ExportResult(
        _build_source_config(store),
        clips,
        {name: counts[name] for name in _UNSUPPORTED_FIELDS if counts[name]},
    )


def _get_annotation_name(split: str) -> str:
    """Return the file name of a split's annotation."""
    return f"annotation.{_SPLIT_NAMES[split]}.json"


def _build_source_config(store: Store) -> dict[str, Any]:
    """Build the `source` section of a recipe that reads the export."""
    streams: list[dict[str, Any]] = []
    for name, stream in store.schema.streams.items():
        rate = {} if stream.rate_hz is None else {"fps": stream.rate_hz}
        streams.append({"name": name, **rate, "width": stream.width})
    tables = {split: _get_annotation_name(split) for split in store.splits}
    return {"kind": LAYOUT_NAME, **tables, "streams": streams}


def _group_by_video(records: Sequence[ClipRecord]) -> ClipsByVideo:
    """Group the clips of a split by video, each video's clips in their order.

    Raises:
        InputError: If two documents or two clips would get the same name.
    """
    document_by_video: dict[str, tuple[str, str]] = {}
    videos: ClipsByVideo = {}
    # `sorted` is stable: clips with equal `order` keep the order of the store.
    for record in sorted(records, key=lambda record: record.clip.order):
        video, name = _get_export_names(record.clip)
        document = (record.clip.corpus, record.clip.document)
        if document_by_video.setdefault(video, document) != document or name in videos.get(
            video, {}
        ):
            raise InputError(
                f"two clips or documents would both be named `{video}`, among them that of the clip"
                f" `{record.clip.id}`; give them names that differ in more than slashes"
            )
        videos.setdefault(video, {})[name] = record
    # Videos appear in the order of their first clip in the store. The reversed iteration leaves the
    # smallest number of each video.
    first_position = {
        _get_export_names(record.clip)[0]: number
        for number, record in reversed([*enumerate(records)])
    }
    return dict(sorted(videos.items(), key=lambda item: first_position[item[0]]))


def _get_export_names(clip: Clip) -> tuple[str, str]:
    """Return the name of a clip's video and the name of the clip within the video."""
    clip_name = clip.id.removeprefix(f"{clip.corpus}/") if clip.corpus else clip.id
    video = clip.document or clip_name
    name = clip_name.removeprefix(f"{clip.document}/") if clip.document else clip_name
    return sanitize_name(f"{clip.corpus}_{video}" if clip.corpus else video), sanitize_name(name)


def _build_annotation(clips: Mapping[str, ClipRecord]) -> dict[str, Any]:
    """Build the annotation of a video: the order of its clips, and the texts of each."""
    annotation: dict[str, Any] = {ORDER_KEY: list(clips)}
    for name, record in clips.items():
        first, *others = record.clip.texts
        keywords = list(record.clip.keywords)
        annotation[name] = {"translation": first, "paraphrases": others, "keywords": keywords}
    return annotation


def _split_into_shards(store: Store, videos: ClipsByVideo, shard_bytes: int) -> list[ClipsByVideo]:
    """Split the videos into shards; those of the widest stream have about the requested size."""
    # Share of a clip's bytes in the widest stream, if its streams have equal lengths.
    widest_share = max(store.schema.widths.values()) / sum(store.schema.widths.values())
    shards: list[ClipsByVideo] = [{}]
    remaining_bytes = float(shard_bytes)
    for video, clips in videos.items():
        num_bytes = widest_share * sum(store.get_num_bytes(record) for record in clips.values())
        # A video larger than a shard gets a shard of its own.
        if shards[-1] and num_bytes > remaining_bytes:
            shards.append({})
            remaining_bytes = shard_bytes
        shards[-1][video] = clips
        remaining_bytes -= num_bytes
    return shards


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
        folder: Folder of the stream.
        stream: Name of the stream.
        split_name: Name of the split in file names.
        shards: Videos of each shard.
        on_clip_written: Callback that is called after every clip.
    """
    folder.mkdir(exist_ok=True)
    for number, videos in enumerate(shards):
        path = folder / format_shard_name(stream, split_name, str(number))
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
    shard_by_video = {video: number for number, videos in enumerate(shards) for video in videos}
    _write_json_durably(folder / format_metadata_name(stream, split_name), shard_by_video)


def _write_json_durably(path: Path, value: object) -> None:
    """Write a value to a file as indented JSON, atomically and durably."""
    write_bytes_durably(path, f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode())


def _prepare_output_dir(out: Path, overwrite: bool) -> None:
    """Check that the folder can be written to; remove an earlier export if `overwrite` is set.

    Raises:
        InputError: If the folder holds anything else, or an export without `overwrite`.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        out.mkdir(parents=True, exist_ok=True)
        return
    try:
        note = json.loads((out / EXPORT_MARKER).read_text(encoding="utf-8"))
        # `sanitize_name` keeps an edited note from naming folders outside `out`.
        streams = (
            [sanitize_name(name) for name in note["streams"]]
            if note["layout"] == LAYOUT_NAME
            else []
        )
    except (OSError, ValueError, KeyError, TypeError):
        streams = []
    if not streams:
        raise InputError(
            f"`{out}` exists and is not an earlier export of this layout; choose a new folder"
        )
    if not overwrite:
        raise InputError(
            f"`{out}` contains an earlier export; choose a new folder, or replace it with"
            " `--overwrite`"
        )
    for stream in streams:
        shutil.rmtree(out / stream, ignore_errors=True)
    for split in _SPLIT_NAMES:
        (out / _get_annotation_name(split)).unlink(missing_ok=True)
