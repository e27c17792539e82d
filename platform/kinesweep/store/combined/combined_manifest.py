"""The manifest of a combined store: its parts, and the schemas and counts of the joined clips."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from kinesweep.core.errors import StoreError
from kinesweep.core.schema import StreamSchema, count_rates
from kinesweep.features.quality.split_quality import compute_quality
from kinesweep.store.combined.clip_join import ClipJoin, JoinPart
from kinesweep.store.extraction.drop_policy import build_dropped_section
from kinesweep.store.format.fingerprint import STORE_FORMAT
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.store_parts import PARTS, PartReference


def build_combined_manifest(
    join: ClipJoin, selected: Sequence[JoinPart], records: Mapping[str, Sequence[ClipRecord]]
) -> dict[str, Any]:
    """Build the manifest of a combined store, without its fingerprint and files.

    Args:
        join: Joined clips.
        selected: Selected parts.
        records: Split → records of the combined store.

    Raises:
        StoreError: If parts of one stream do not agree.
    """
    streams = list(dict.fromkeys(part.stream for part in selected))
    references = [
        PartReference(
            part.stream,
            part.stored_stream,
            # Relative, so that the folder of all stores can be moved.
            f"../{part.store.folder.name}",
            part.store.fingerprint,
        )
        for part in selected
    ]
    stores = {part.store.folder: part.store for part in selected}
    return {
        "format": STORE_FORMAT,
        PARTS: [asdict(reference) for reference in references],
        "streams": {
            name: _build_stream_schema(
                name, [part for part in selected if part.stream == name], records
            ).to_json()
            for name in streams
        },
        "splits": {
            split: {"clips": len(items), "frames": _count_frames(items, streams)}
            for split, items in records.items()
        },
        **_build_quality_section(join, selected),
        "dropped": build_dropped_section(join.dropped_rows),
        "bytes": sum(int(store.manifest["bytes"]) for store in stores.values()),
    }


def _count_frames(records: Sequence[ClipRecord], streams: Sequence[str]) -> dict[str, int]:
    """Count the frames of clips by stream."""
    return {name: sum(record.lengths.get(name, 0) for record in records) for name in streams}


def _build_stream_schema(
    name: str, parts: Sequence[JoinPart], records: Mapping[str, Sequence[ClipRecord]]
) -> StreamSchema:
    """Build the schema of a stream from those of its parts and the rates of the joined clips.

    Args:
        name: Name of the stream.
        parts: Parts of the stream.
        records: Split → records of the combined store.

    Raises:
        StoreError: If the parts have other widths, points or types.
    """
    schemas = [
        # Rates may differ between corpora; they follow from the joined clips below.
        replace(part.store.schema.streams[part.stored_stream], rate_hz=None, rates_hz=())
        for part in parts
    ]
    for part, schema in zip(parts, schemas, strict=True):
        if schema != schemas[0]:
            raise StoreError(
                f"the parts called `{name}` have different features: {schemas[0].width} values per"
                f" frame ({', '.join(parts[0].corpora or ())}) and {schema.width}"
                f" ({', '.join(part.corpora or ())}), or other points; parts of one stream must"
                " have the same width and points. Give them different names"
            )
    rates = [
        record.rates_hz[name]
        for split_records in records.values()
        for record in split_records
        if name in record.rates_hz
    ]
    is_constant = len(set(rates)) == 1
    return replace(
        schemas[0],
        rate_hz=rates[0] if is_constant else None,
        rates_hz=() if is_constant else count_rates(rates),
    )


def _build_quality_section(join: ClipJoin, selected: Sequence[JoinPart]) -> dict[str, Any]:
    """Build the section `quality` of the manifest from the first part of each clip with points."""
    items = []
    for clips in join.clips.values():
        for item in clips:
            found = (
                part.store.find_media_statistics(item.records[part.stream].key)
                for part in selected
                if part.stream in item.records
            )
            statistics = next((value for value in found if value is not None), None)
            if statistics is not None:
                items.append((item.clip, statistics))
    quality = compute_quality(items)
    if not quality:
        return {}
    return {"quality": {split: values.to_json() for split, values in quality.items()}}
