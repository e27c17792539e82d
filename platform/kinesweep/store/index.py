"""The index of a store: one row a clip, in an Arrow file of its own.

It holds all that is known of a clip but its features: texts, prompts, provenance, lengths, and
where the features lie. It is read at once (about 5 MB for 10,000 clips); the shards are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from kinesweep.core.clip import Clip
from kinesweep.core.units import Span

_PROMPTS = ("encoder_prompt", "decoder_prompt")
_ORIGINS = ("document", "signer", "gloss", "language", "row")
_CLIP_TEXTS = ("id", "split", "media", *_PROMPTS, *_ORIGINS)


@dataclass(frozen=True)
class ClipRecord:
    """A clip in a store.

    Attributes:
        clip: its metadata.
        lengths: stream → frames, T.
        rates_hz: stream → frames a second.
        shard: file of the store that holds its features.
        place: its row in the shard.
        key: name of its features (`fingerprint.clip_key`).
        digest: hash of the stored features; equal features have equal digests.
    """

    clip: Clip
    lengths: dict[str, int]
    rates_hz: dict[str, float] = field(default_factory=dict)
    shard: str = ""
    place: int = 0
    key: str = ""
    digest: str = ""


def index_table(records: Sequence[ClipRecord], streams: Sequence[str]) -> pa.Table:
    """Records as a table; equal records give equal bytes."""
    text, number, real = pa.string(), pa.int64(), pa.float64()
    clips = [record.clip for record in records]
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(clip, name) for clip in clips], text) for name in _CLIP_TEXTS
    }
    if any(clip.corpus for clip in clips):
        columns["corpus"] = pa.array([clip.corpus for clip in clips], text)
    if any(clip.keywords for clip in clips):
        columns["keywords"] = pa.array([list(clip.keywords) for clip in clips], pa.list_(text))
    if any(clip.reference for clip in clips):
        columns["reference"] = pa.array([clip.reference for clip in clips], text)
    columns["texts"] = pa.array([list(clip.texts) for clip in clips], pa.list_(text))
    columns["order"] = pa.array([clip.order for clip in clips], number)
    columns["span_start"] = pa.array([clip.span.start for clip in clips], real)
    columns["span_end"] = pa.array([clip.span.end for clip in clips], real)
    columns["span_unit"] = pa.array([clip.span.unit for clip in clips], text)
    for name in ("shard", "key", "digest"):
        columns[name] = pa.array([getattr(record, name) for record in records], text)
    columns["place"] = pa.array([record.place for record in records], number)
    for stream in streams:
        columns[f"frames.{stream}"] = pa.array([r.lengths[stream] for r in records], number)
        columns[f"rate_hz.{stream}"] = pa.array([r.rates_hz[stream] for r in records], real)
    return pa.table(columns)


def index_records(table: pa.Table, streams: Sequence[str]) -> list[ClipRecord]:
    """The records of a table made by `index_table`, in its order."""
    return [_record(row, streams) for row in table.to_pylist()]


def _record(row: dict[str, Any], streams: Sequence[str]) -> ClipRecord:
    """One record from its row."""
    clip = Clip(
        **{name: row[name] for name in _CLIP_TEXTS},
        span=Span(row["span_start"], row["span_end"], row["span_unit"]),
        texts=tuple(row["texts"]),
        order=row["order"],
        corpus=row.get("corpus", ""),
        keywords=tuple(row.get("keywords", ())),
        reference=row.get("reference", ""),
    )
    return ClipRecord(
        clip=clip,
        lengths={stream: row[f"frames.{stream}"] for stream in streams},
        rates_hz={stream: row[f"rate_hz.{stream}"] for stream in streams},
        shard=row["shard"],
        place=row["place"],
        key=row["key"],
        digest=row["digest"],
    )
