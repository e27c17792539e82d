"""Hands a store over as Sign_LLaVA's annotations and HDF5 shards, all streams of it.

Written are `annotation.{train,dev,test}.json`, and for each stream `{stream}/{stream}.{split}.N.h5`
with `{stream}/metadata_{stream}.{split}.json`; a source of the kind `h5_shards` reads them back to
the bit, with all texts and keywords. A video is a document of the store, or a clip that has none.
The layout has no place for prompts, glosses, signers, languages and rates: what is left out is
counted, the rates are told. A stream's shards of a split are cut between videos, at about 1 GB.

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
from kinesweep.sources.annotation import ORDER
from kinesweep.sources.shard_map import metadata_name, shard_name
from kinesweep.store.hand_over_rows import safe_name
from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store
from kinesweep.store.writer import write_durably

NOTE = "handed_over.json"
"""Says whose features they are, and what was written; a folder that holds it may be replaced."""
LAYOUT = "h5_shards"
_TOKENS = {"train": "train", "validation": "dev", "test": "test"}
_SHARD_BYTES = 1_000_000_000
_NO_PLACE = ("encoder_prompt", "decoder_prompt", "gloss", "signer", "language")

Videos = dict[str, dict[str, ClipRecord]]
"""Video → its clips by name, in order."""


@dataclass(frozen=True)
class Shards:
    """What was written.

    Attributes:
        source: part of a recipe that reads it back, relative to the folder; a stream whose clips
            differ in their rates has none.
        clips: split → clips.
        left: what the layout has no place for → clips that had it.
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
    """Writes all streams of a store.

    Args:
        store: the features.
        out: a new or empty folder.
        overwrite: replace what an earlier hand-over of this layout wrote to `out`.
        progress: told of every clip and stream.
        shard_bytes: about the size of a shard.

    Raises:
        InputError: a folder that holds something, or names that clash.
        StoreError: a shard is damaged.
    """
    splits = {split: _videos(store.records(split)) for split in store.splits}
    _make_room(out, overwrite)
    note = {"layout": LAYOUT, "store": store.fingerprint, "streams": list(store.schema.streams)}
    write_durably(out / NOTE, f"{json.dumps(note, indent=1)}\n".encode())
    clips = {split: len(store.records(split)) for split in splits}
    done, total = 0, sum(clips.values()) * len(store.schema.streams)

    def told() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for split, videos in splits.items():
        parts = _cut(store, videos, shard_bytes)
        for stream in store.schema.streams:
            _write_stream(store, out / stream, stream, _TOKENS[split], parts, told)
        said = {video: _annotated(own) for video, own in videos.items()}
        _write_json(out / _annotation(split), said)
    records = [record for split in splits for record in store.records(split)]
    counts = Counter(n for record in records for n in _NO_PLACE if getattr(record.clip, n))
    return Shards(_source(store), clips, {name: counts[name] for name in _NO_PLACE if counts[name]})


def _annotation(split: str) -> str:
    return f"annotation.{_TOKENS[split]}.json"


def _source(store: Store) -> dict[str, Any]:
    """The part of a recipe that reads it back."""
    streams: list[dict[str, Any]] = []
    for name, stream in store.schema.streams.items():
        rate = {} if stream.rate_hz is None else {"fps": stream.rate_hz}
        streams.append({"name": name, **rate, "width": stream.width})
    tables = {split: _annotation(split) for split in store.splits}
    return {"kind": LAYOUT, **tables, "streams": streams}


def _videos(records: Sequence[ClipRecord]) -> Videos:
    """The clips of a split by video, each video's in their order.

    Raises:
        InputError: two documents or two clips would have one name.
    """
    owner: dict[str, tuple[str, str]] = {}
    videos: Videos = {}
    for record in sorted(records, key=lambda record: record.clip.order):
        video, name = _names(record.clip)
        whose = (record.clip.corpus, record.clip.document)
        if owner.setdefault(video, whose) != whose or name in videos.get(video, {}):
            raise InputError(
                f"two clips or documents would both be `{video}`, such as that of the clip"
                f" `{record.clip.id}`; give them names that differ in more than slashes"
            )
        videos.setdefault(video, {})[name] = record
    first = {_names(record.clip)[0]: number for number, record in reversed([*enumerate(records)])}
    return dict(sorted(videos.items(), key=lambda item: first[item[0]]))


def _names(clip: Clip) -> tuple[str, str]:
    """What a clip's video and the clip in it are called."""
    own = clip.id.removeprefix(f"{clip.corpus}/") if clip.corpus else clip.id
    video = clip.document or own
    name = own.removeprefix(f"{clip.document}/") if clip.document else own
    return safe_name(f"{clip.corpus}_{video}" if clip.corpus else video), safe_name(name)


def _annotated(clips: Mapping[str, ClipRecord]) -> dict[str, Any]:
    """What an annotation says of a video."""
    said: dict[str, Any] = {ORDER: list(clips)}
    for name, record in clips.items():
        first, *others = record.clip.texts
        keywords = list(record.clip.keywords)
        said[name] = {"translation": first, "paraphrases": others, "keywords": keywords}
    return said


def _cut(store: Store, videos: Videos, shard_bytes: int) -> list[Videos]:
    """The videos of each shard; the widest stream's are about as large as is asked for."""
    widest = max(store.schema.widths.values()) / sum(store.schema.widths.values())
    parts: list[Videos] = [{}]
    room = float(shard_bytes)
    for video, clips in videos.items():
        size = widest * sum(store.num_bytes(record) for record in clips.values())
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
    """Writes a stream's shards of a split, then which video is in which."""
    folder.mkdir(exist_ok=True)
    for number, videos in enumerate(parts):
        path = folder / shard_name(stream, token, str(number))
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
    write_durably(path, f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode())


def _make_room(out: Path, overwrite: bool) -> None:
    """Refuses a folder that holds something; removes an earlier hand-over where that is asked for.

    Raises:
        InputError: it holds something else, or nobody asked.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        out.mkdir(parents=True, exist_ok=True)
        return
    try:
        note = json.loads((out / NOTE).read_text(encoding="utf-8"))
        streams = [safe_name(name) for name in note["streams"]] if note["layout"] == LAYOUT else []
    except (OSError, ValueError, KeyError, TypeError):
        streams = []
    if not streams:
        raise InputError(f"`{out}` is there already, and holds no such shards; name a new folder")
    if not overwrite:
        raise InputError(f"`{out}` holds a hand-over; name a new folder, or replace: `--overwrite`")
    for stream in streams:
        shutil.rmtree(out / stream, ignore_errors=True)
    for token in _TOKENS:
        (out / _annotation(token)).unlink(missing_ok=True)
