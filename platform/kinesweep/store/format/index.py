"""The index of a store: one row per clip, in a separate Arrow file.

It holds everything known about a clip except its features: texts, prompts, provenance, lengths, and
where the features are stored. The index is read at once (about 5 MB for 10,000 clips); the shards
are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from kinesweep.core.clip import Clip
from kinesweep.core.units import Span

_PROMPT_FIELDS = ("encoder_prompt", "decoder_prompt")
_METADATA_FIELDS = ("document", "signer", "gloss", "language", "row")
_STRING_FIELDS = ("id", "split", "media", *_PROMPT_FIELDS, *_METADATA_FIELDS)


@dataclass(frozen=True)
class ClipRecord:
    """The index entry of a clip in a store.

    Attributes:
        clip: Metadata of the clip.
        lengths: Stream → number of frames, T; without streams that the clip lacks.
        rates_hz: Stream → frames per second.
        shard: Path of the file with the features, relative to the store.
        shard_row: Row of the clip in the shard.
        key: Key of the features (`fingerprint.compute_clip_key`).
        digest: Hash of the stored features; equal features have equal digests.
        epoch_lengths: Lengths of the variants of the clip after the first, which training epochs
            read in turn; empty if the clip has one variant.
        epoch: Index of the variant that this record describes.
    """

    clip: Clip
    lengths: dict[str, int]
    rates_hz: dict[str, float] = field(default_factory=dict)
    shard: str = ""
    shard_row: int = 0
    key: str = ""
    digest: str = ""
    epoch_lengths: tuple[dict[str, int], ...] = ()
    epoch: int = 0

    @property
    def all_lengths(self) -> tuple[dict[str, int], ...]:
        """Return stream → number of frames, for each variant of the clip."""
        return (self.lengths, *self.epoch_lengths)

    def at_epoch(self, epoch: int) -> "ClipRecord":
        """Return the record of the variant that training reads in an epoch, counted from 0.

        `Store.get_features` returns the features of this variant. The record must be that of the
        first variant, as `Store.get_records` returns it.
        """
        if not self.epoch_lengths:
            return self
        variant = epoch % len(self.all_lengths)
        return replace(self, lengths=self.all_lengths[variant], epoch=variant)


def build_index_table(records: Sequence[ClipRecord], streams: Sequence[str]) -> pa.Table:
    """Convert records to the table of the index, one row per clip.

    Equal records give equal bytes.

    Args:
        records: Records of all clips, in the order of the rows.
        streams: Names of the streams, in the order of their columns.
    """
    string_type, int_type, float_type = pa.string(), pa.int64(), pa.float64()
    clips = [record.clip for record in records]
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(clip, name) for clip in clips], string_type)
        for name in _STRING_FIELDS
    }
    # Optional columns exist only if a clip has a value, so stores without them keep their bytes.
    if any(clip.corpus for clip in clips):
        columns["corpus"] = pa.array([clip.corpus for clip in clips], string_type)
    if any(clip.keywords for clip in clips):
        columns["keywords"] = pa.array(
            [list(clip.keywords) for clip in clips], pa.list_(string_type)
        )
    if any(clip.reference for clip in clips):
        columns["reference"] = pa.array([clip.reference for clip in clips], string_type)
    columns["texts"] = pa.array([list(clip.texts) for clip in clips], pa.list_(string_type))
    columns["order"] = pa.array([clip.order for clip in clips], int_type)
    columns["span_start"] = pa.array([clip.span.start for clip in clips], float_type)
    columns["span_end"] = pa.array([clip.span.end for clip in clips], float_type)
    columns["span_unit"] = pa.array([clip.span.unit for clip in clips], string_type)
    for name in ("shard", "key", "digest"):
        columns[name] = pa.array([getattr(record, name) for record in records], string_type)
    columns["place"] = pa.array([record.shard_row for record in records], int_type)
    for stream in streams:
        columns[f"frames.{stream}"] = pa.array(
            [record.lengths.get(stream) for record in records], int_type
        )
        columns[f"rate_hz.{stream}"] = pa.array(
            [record.rates_hz.get(stream) for record in records], float_type
        )
        if any(record.epoch_lengths for record in records):
            columns[f"epoch_frames.{stream}"] = pa.array(
                [[lengths.get(stream) for lengths in record.epoch_lengths] for record in records],
                pa.list_(int_type),
            )
    return pa.table(columns)


def parse_index_table(table: pa.Table, streams: Sequence[str]) -> list[ClipRecord]:
    """Convert the table of an index back to records; the inverse of `build_index_table`.

    Args:
        table: Table of the index.
        streams: Names of the streams.

    Returns:
        Records of all clips, in the order of the rows.
    """
    return [_parse_record(row, streams) for row in table.to_pylist()]


def _parse_record(row: dict[str, Any], streams: Sequence[str]) -> ClipRecord:
    """Convert a row of the index to the record of a clip.

    Args:
        row: Column → value.
        streams: Names of the streams.
    """
    clip = Clip(
        **{name: row[name] for name in _STRING_FIELDS},
        span=Span(row["span_start"], row["span_end"], row["span_unit"]),
        texts=tuple(row["texts"]),
        order=row["order"],
        # `build_index_table` omits these three columns if no clip has a value.
        corpus=row.get("corpus", ""),
        keywords=tuple(row.get("keywords", ())),
        reference=row.get("reference", ""),
    )
    # A clip of a combined store may lack streams, which are null in its row.
    streams = [stream for stream in streams if row[f"frames.{stream}"] is not None]
    return ClipRecord(
        clip=clip,
        lengths={stream: row[f"frames.{stream}"] for stream in streams},
        rates_hz={stream: row[f"rate_hz.{stream}"] for stream in streams},
        shard=row["shard"],
        shard_row=row["place"],
        key=row["key"],
        digest=row["digest"],
        epoch_lengths=_parse_epoch_lengths(row, streams),
    )


def _parse_epoch_lengths(row: dict[str, Any], streams: Sequence[str]) -> tuple[dict[str, int], ...]:
    """Parse the lengths of the variants of a clip after the first.

    Args:
        row: Column → value.
        streams: Streams that the clip has.
    """
    values = {stream: row.get(f"epoch_frames.{stream}") or () for stream in streams}
    num_variants = max(map(len, values.values()), default=0)
    return tuple(
        {stream: values[stream][index] for stream in streams} for index in range(num_variants)
    )
