"""Finalizes an extraction: writes index and manifest from the chunk results.

The manifest is written last. It contains everything that is checked later: the tree of
fingerprints, the streams, the counts, every dropped row with its reason, and the size and hash of
each file. It contains no time, no host and no count of copied clips, so the same corpus gives the
same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinesweep.core.clip import InvalidRow
from kinesweep.core.errors import StoreError
from kinesweep.core.pose import PointLayout
from kinesweep.core.schema import StreamSchema
from kinesweep.store.extraction.chunk_processor import Chunk, ChunkResult, ClipStatus, ClipTask
from kinesweep.store.extraction.corpus_scan import Extraction
from kinesweep.store.extraction.drop_policy import (
    as_manifest,
    check_complete,
    check_dropped,
    check_splits,
)
from kinesweep.store.extraction.plan import Plan
from kinesweep.store.format.fingerprint import STORE_FORMAT
from kinesweep.store.format.index import ClipRecord, index_table
from kinesweep.store.format.writer import INDEX, FileMark, write_manifest, write_table

ClipOutcome = tuple[Chunk, ClipTask, ClipStatus]


def finish(
    extraction: Extraction, plan: Plan, results: Sequence[ChunkResult], folder: Path
) -> list[InvalidRow]:
    """Write index and manifest beside the shards.

    Args:
        extraction: Source, feature step and limits.
        plan: Plan that was executed.
        results: One result per chunk of the plan, in its order.
        folder: Staging folder that contains the shards.

    Returns:
        The dropped rows.

    Raises:
        StoreError: If too many clips are dropped, a split is incomplete or empty, or stream widths
            differ.
    """
    outcomes = [
        (chunk, entry, status)
        for chunk, result in zip(plan.chunks, results, strict=True)
        for entry, status in zip(chunk.entries, result.statuses, strict=True)
    ]
    # Rows that the survey rejected count together with clips that failed during extraction.
    problems = [*plan.survey.problems, *_problems(outcomes)]
    kept = [outcome for outcome in outcomes if not outcome[2].reason]
    check_complete(problems, extraction.required_splits)
    check_dropped(problems, len(kept) + len(problems), extraction.max_dropped_share)
    streams = extraction.step.streams
    records = [_record(*outcome) for outcome in kept]
    splits = _count_splits(plan.survey.clips, records, streams)
    check_splits({name: counts["clips"] for name, counts in splits.items()}, problems)
    files = {
        chunk.shard: result.shard
        for chunk, result in zip(plan.chunks, results, strict=True)
        if result.shard is not None
    }
    files[INDEX] = write_table(folder / INDEX, index_table(records, streams))
    # Before the manifest: its presence means that the folder holds exactly the listed files.
    _remove_strays(folder, files)
    manifest = {
        "format": STORE_FORMAT,
        "fingerprint": plan.survey.fingerprint,
        "tree": plan.survey.tree,
        "streams": {name: _stream(name, kept, extraction.dtype) for name in streams},
        "splits": splits,
        "dropped": as_manifest(problems),
        "bytes": sum(mark.num_bytes for mark in files.values()),
        "files": {
            name: {"bytes": mark.num_bytes, "sha256": mark.sha256} for name, mark in files.items()
        },
    }
    write_manifest(folder, manifest)
    return problems


def _problems(outcomes: Sequence[ClipOutcome]) -> list[InvalidRow]:
    """Return the clips that failed during extraction."""
    return [
        InvalidRow(entry.clip.row, entry.clip.id, status.reason, status.message, entry.clip.split)
        for _, entry, status in outcomes
        if status.reason
    ]


def _record(chunk: Chunk, entry: ClipTask, status: ClipStatus) -> ClipRecord:
    """Return the index record of a kept clip."""
    return ClipRecord(
        clip=entry.clip,
        lengths={name: one.frames for name, one in status.streams.items()},
        rates_hz={name: one.rate_hz for name, one in status.streams.items()},
        shard=chunk.shard,
        place=status.place,
        key=entry.key,
        digest=status.digest,
    )


def _count_splits(
    splits: Mapping[str, object], records: Sequence[ClipRecord], streams: Sequence[str]
) -> dict[str, Any]:
    """Count the clips and frames of each split."""
    counts: dict[str, Any] = {
        split: {"clips": 0, "frames": dict.fromkeys(streams, 0)} for split in splits
    }
    for record in records:
        counts[record.clip.split]["clips"] += 1
        for stream, length in record.lengths.items():
            counts[record.clip.split]["frames"][stream] += length
    return counts


def _stream(name: str, kept: Sequence[ClipOutcome], dtype: str) -> dict[str, Any]:
    """Return the schema of a stream as plain values.

    Raises:
        StoreError: If the clips differ in width or points.
    """
    # The first clip of each variant serves as an example in the error message.
    first_of: dict[tuple[int, PointLayout | None], ClipTask] = {}
    for _, entry, status in kept:
        one = status.streams[name]
        first_of.setdefault((one.width, one.layout), entry)
    if len(first_of) > 1:
        shown = [f"{width} (`{e.clip.id}`, {e.clip.row})" for (width, _), e in first_of.items()]
        widths = {width for width, _ in first_of}
        what = "features of different widths" if len(widths) > 1 else "points of different names"
        which = f"`{name}`: " if len(kept[0][2].streams) > 1 else ""
        raise StoreError(
            f"{which}clips have {what}: {', '.join(shown)}. All clips of a store"
            " must agree; select points with `features.points`, or split the corpus."
        )
    ((width, layout),) = first_of
    rates = {status.streams[name].rate_hz for _, _, status in kept}
    # None means that clips differ; the index then has the rate of each clip.
    rate_hz = rates.pop() if len(rates) == 1 else None
    return StreamSchema(width, rate_hz, dtype, layout).to_json()


def _remove_strays(folder: Path, files: Mapping[str, FileMark]) -> None:
    """Remove partial shards of workers that died while writing, and notes about attempts."""
    for path in (folder / "shards").iterdir():
        if f"shards/{path.name}" not in files:
            path.unlink()
