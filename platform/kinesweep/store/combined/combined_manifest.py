"""The files of a combined store: an index of the joined clips, and a manifest that names its parts.

The manifest holds the schemas and counts of the joined clips. No features are copied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kinesweep.core.errors import StoreError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.schema import StreamSchema, count_rates
from kinesweep.features.quality.split_quality import compute_quality
from kinesweep.store.combined.clip_join import ClipJoin, JoinPart
from kinesweep.store.extraction.drop_policy import build_dropped_section
from kinesweep.store.format.fingerprint import STORE_FORMAT
from kinesweep.store.format.index import ClipRecord, build_index_table
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.format.staging import commit_store_dir, create_staging_dir
from kinesweep.store.format.store_parts import PARTS, PartReference
from kinesweep.store.format.writer import INDEX, write_arrow_table, write_store_manifest


def write_combined_store(
    join: ClipJoin,
    selected: Sequence[JoinPart],
    records: Mapping[str, Sequence[ClipRecord]],
    tree: Mapping[str, Any],
) -> Store:
    """Write a combined store beside the stores of its parts, or open it if it exists.

    Args:
        join: Joined clips.
        selected: Selected parts, in the order of the streams.
        records: Split → records of the combined store.
        tree: Values that determine the content of the store.

    Raises:
        StoreError: If parts of one stream have other widths, points or types.
    """
    fingerprint = compute_fingerprint(tree)
    root = selected[0].store.folder.parent
    # 16 digits, as in the names of other stores.
    folder = root / fingerprint[:16]
    if not folder.is_dir():
        with create_staging_dir(root) as staging_dir:
            manifest = build_combined_manifest(join, selected, records)
            all_records = [record for split in records.values() for record in split]
            index = build_index_table(all_records, list(manifest["streams"]))
            checksum = write_arrow_table(staging_dir / INDEX, index)
            manifest["bytes"] += checksum.num_bytes
            manifest["files"] = {INDEX: {"bytes": checksum.num_bytes, "sha256": checksum.sha256}}
            write_store_manifest(
                staging_dir, {**manifest, "fingerprint": fingerprint, "tree": tree}
            )
            commit_store_dir(staging_dir, folder)
    return open_store(folder)


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
            part.epoch,
        )
        for part in selected
    ]
    stores = {part.store.folder: part.store for part in selected}
    return {
        "format": STORE_FORMAT,
        PARTS: [reference.to_json() for reference in references],
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
