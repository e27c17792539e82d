"""The index of a store: one row per clip, in an Arrow file of its own.

It holds everything known about a clip except its features: texts, prompts, provenance, lengths, and
where the features are stored. The index is read at once (about 5 MB for 10,000 clips); the shards
are not.
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
        clip: Metadata of the clip.
        lengths: Stream → number of frames, T.
        rates_hz: Stream → frames per second.
        shard: File with the features, relative to the store.
        place: Row of the clip in the shard.
        key: Key of the features (`fingerprint.clip_key`).
        digest: Hash of the stored features; equal features have equal digests.
    """

    clip: Clip
    lengths: dict[str, int]
    rates_hz: dict[str, float] = field(default_factory=dict)
    shard: str = ""
    place: int = 0
    key: str = ""
    digest: str = ""


def index_table(records: Sequence[ClipRecord], streams: Sequence[str]) -> pa.Table:
    """Return records as a table; equal records give equal bytes.

    Args:
        records: Records to store.
        streams: Names of the streams, in the order of their columns.
    """
    text, number, real = pa.string(), pa.int64(), pa.float64()
    clips = [record.clip for record in records]
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(clip, name) for clip in clips], text) for name in _CLIP_TEXTS
    }
    # Optional columns exist only if a clip has a value, so stores without them keep their bytes.
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
    """Return the records of a table written by `index_table`, in its order."""
    return [_record(row, streams) for row in table.to_pylist()]


def _record(row: dict[str, Any], streams: Sequence[str]) -> ClipRecord:
    """Return the record of a row."""
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
