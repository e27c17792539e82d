"""Exports all streams of a store as Sign_LLaVA annotations and HDF5 shards.

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
from kinesweep.sources.precomputed.annotation import ORDER
from kinesweep.sources.precomputed.shard_index import metadata_name, shard_name
from kinesweep.store.export.export_rows import sanitize_name
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store
from kinesweep.store.format.writer import write_durably

NOTE = "handed_over.json"
"""File that records source store and streams; only a folder with it may be overwritten."""
LAYOUT = "h5_shards"
_TOKENS = {"train": "train", "validation": "dev", "test": "test"}
_SHARD_BYTES = 1_000_000_000
_NO_PLACE = ("encoder_prompt", "decoder_prompt", "gloss", "signer", "language")

Videos = dict[str, dict[str, ClipRecord]]
"""Video → clip name → record, both in order."""


@dataclass(frozen=True)
class Shards:
    """The result of an export.

    Attributes:
        source: `source` section of a recipe that reads the export, with paths relative to its
            folder; a stream whose clips differ in frame rate has no `fps`.
        clips: Split → number of clips.
        left: Clip field that the layout cannot hold → number of clips that had a value.
    """

    source: dict[str, Any]
    clips: dict[str, int]
    left: dict[str, int]


def hand_over_shards(
    store: Store,
    out: Path,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    shard_bytes: int = _SHARD_BYTES,
) -> Shards:
    """Export all streams of a store.

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
    splits = {split: _videos(store.records(split)) for split in store.splits}
    _prepare_output_dir(out, overwrite)
    note = {"layout": LAYOUT, "store": store.fingerprint, "streams": list(store.schema.streams)}
    # Written first, so that an interrupted export can be replaced with `overwrite`.
    write_durably(out / NOTE, f"{json.dumps(note, indent=1)}\n".encode())
    clips = {split: len(store.records(split)) for split in splits}
    done, total = 0, sum(clips.values()) * len(store.schema.streams)

    def told() -> None:
        """Count one clip of one stream and report progress."""
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for split, videos in splits.items():
        # All streams of a split use the same division into shards.
        parts = _cut(store, videos, shard_bytes)
        for stream in store.schema.streams:
            _write_stream(store, out / stream, stream, _TOKENS[split], parts, told)
        said = {video: _annotated(own) for video, own in videos.items()}
        # The annotation is written last: a split that has one is complete.
        _write_json(out / _annotation(split), said)
    records = [record for split in splits for record in store.records(split)]
    counts = Counter(n for record in records for n in _NO_PLACE if getattr(record.clip, n))
    return Shards(_source(store), clips, {name: counts[name] for name in _NO_PLACE if counts[name]})


def _annotation(split: str) -> str:
    """Return the file name of a split's annotation."""
    return f"annotation.{_TOKENS[split]}.json"


def _source(store: Store) -> dict[str, Any]:
    """Return the `source` section of a recipe that reads the export."""
    streams: list[dict[str, Any]] = []
    for name, stream in store.schema.streams.items():
        rate = {} if stream.rate_hz is None else {"fps": stream.rate_hz}
        streams.append({"name": name, **rate, "width": stream.width})
    tables = {split: _annotation(split) for split in store.splits}
    return {"kind": LAYOUT, **tables, "streams": streams}


def _videos(records: Sequence[ClipRecord]) -> Videos:
    """Group the clips of a split by video, each video's clips in their order.

    Raises:
        InputError: If two documents or two clips would get the same name.
    """
    owner: dict[str, tuple[str, str]] = {}
    videos: Videos = {}
    # `sorted` is stable: clips with equal `order` keep the order of the store.
    for record in sorted(records, key=lambda record: record.clip.order):
        video, name = _names(record.clip)
        whose = (record.clip.corpus, record.clip.document)
        if owner.setdefault(video, whose) != whose or name in videos.get(video, {}):
            raise InputError(
                f"two clips or documents would both be named `{video}`, among them that of the clip"
                f" `{record.clip.id}`; give them names that differ in more than slashes"
            )
        videos.setdefault(video, {})[name] = record
    # Videos appear in the order of their first clip in the store. The reversed iteration leaves the
    # smallest number of each video.
    first = {_names(record.clip)[0]: number for number, record in reversed([*enumerate(records)])}
    return dict(sorted(videos.items(), key=lambda item: first[item[0]]))


def _names(clip: Clip) -> tuple[str, str]:
    """Return the names of a clip's video and of the clip within it."""
    own = clip.id.removeprefix(f"{clip.corpus}/") if clip.corpus else clip.id
    video = clip.document or own
    name = own.removeprefix(f"{clip.document}/") if clip.document else own
    return sanitize_name(f"{clip.corpus}_{video}" if clip.corpus else video), sanitize_name(name)


def _annotated(clips: Mapping[str, ClipRecord]) -> dict[str, Any]:
    """Return the annotation of a video."""
    said: dict[str, Any] = {ORDER: list(clips)}
    for name, record in clips.items():
        first, *others = record.clip.texts
        keywords = list(record.clip.keywords)
        said[name] = {"translation": first, "paraphrases": others, "keywords": keywords}
    return said


def _cut(store: Store, videos: Videos, shard_bytes: int) -> list[Videos]:
    """Divide the videos into shards; those of the widest stream have about the requested size."""
    # Share of a clip's bytes in the widest stream, if its streams have equal lengths.
    widest = max(store.schema.widths.values()) / sum(store.schema.widths.values())
    parts: list[Videos] = [{}]
    room = float(shard_bytes)
    for video, clips in videos.items():
        size = widest * sum(store.num_bytes(record) for record in clips.values())
        # A video larger than a shard gets a shard of its own.
        if parts[-1] and size > room:
            parts.append({})
            room = shard_bytes
        parts[-1][video] = clips
        room -= size
    return parts


def _write_stream(
    store: Store,
    folder: Path,
    stream: str,
    token: str,
    parts: Sequence[Videos],
    told: Callable[[], None],
) -> None:
    """Write the shards of a stream and split, then the metadata that maps videos to shards.

    Args:
        store: Store to export.
        folder: Folder of the stream.
        stream: Name of the stream.
        token: Name of the split in file names.
        parts: Videos of each shard.
        told: Function that is called after every clip.
    """
    folder.mkdir(exist_ok=True)
    for number, videos in enumerate(parts):
        path = folder / shard_name(stream, token, str(number))
        # h5py needs a path to write to, so `write_durably` cannot be used; same steps: sync, then
        # rename.
        beside = path.with_name(f".{path.name}")
        with h5py.File(beside, "w") as file:
            for video, clips in videos.items():
                group = file.create_group(video)
                for name, record in clips.items():
                    group.create_dataset(name, data=store.features(record)[stream])
                    told()
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    where = {video: number for number, videos in enumerate(parts) for video in videos}
    _write_json(folder / metadata_name(stream, token), where)


def _write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON."""
    write_durably(path, f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode())


def _prepare_output_dir(out: Path, overwrite: bool) -> None:
    """Raise an error if the folder is in use; remove an earlier export if `overwrite` is set.

    Raises:
        InputError: If the folder holds anything else, or an export without `overwrite`.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        out.mkdir(parents=True, exist_ok=True)
        return
    try:
        note = json.loads((out / NOTE).read_text(encoding="utf-8"))
        # `sanitize_name` keeps an edited note from naming folders outside `out`.
        streams = (
            [sanitize_name(name) for name in note["streams"]] if note["layout"] == LAYOUT else []
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
    for token in _TOKENS:
        (out / _annotation(token)).unlink(missing_ok=True)
