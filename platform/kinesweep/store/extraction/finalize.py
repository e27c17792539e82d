"""The end of an extraction, which writes index and manifest from the chunk results.

The manifest is written last. It contains everything that is checked later: the tree of
fingerprints, the streams, the counts, every dropped row with its reason, and the size and hash of
each file. It contains no time, no host and no count of copied clips, so the same corpus gives the
same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinesweep.core.clip import InvalidRow
from kinesweep.core.schema import StreamSchema, count_rates
from kinesweep.features.contract import get_fixed_dtype
from kinesweep.features.quality.split_quality import compute_quality
from kinesweep.store.extraction.chunk_processor import ChunkResult, ClipChunk, ClipStatus, ClipTask
from kinesweep.store.extraction.corpus_scan import ExtractionSpec
from kinesweep.store.extraction.drop_policy import (
    build_dropped_section,
    check_dropped_share,
    check_required_splits,
    check_splits_not_empty,
)
from kinesweep.store.extraction.plan import ExtractionPlan
from kinesweep.store.extraction.stream_agreement import find_disagreeing_clips
from kinesweep.store.format.fingerprint import STORE_FORMAT
from kinesweep.store.format.index import ClipRecord, build_index_table
from kinesweep.store.format.statistics_table import STATISTICS, build_statistics_table
from kinesweep.store.format.writer import (
    INDEX,
    FileChecksum,
    write_arrow_table,
    write_store_manifest,
)

ClipOutcome = tuple[ClipChunk, ClipTask, ClipStatus]
"""Chunk that contains a clip, task of the clip, and its status after the extraction."""


def finalize_store(
    extraction: ExtractionSpec, plan: ExtractionPlan, results: Sequence[ChunkResult], folder: Path
) -> list[InvalidRow]:
    """Check the results of an extraction and write the store's index and manifest.

    Files in the subfolder `shards` that the manifest does not list are removed.

    Args:
        extraction: Source, feature step and limits on dropped clips.
        plan: Plan that was executed.
        results: One result per chunk of the plan, in its order.
        folder: Staging folder that contains the shards.

    Returns:
        The dropped rows: those that the scan rejected, then the clips that failed.

    Raises:
        StoreError: If too many clips are dropped, also for the width or points of a stream that
            most others do not have, or if a split is incomplete or empty.
    """
    outcomes = _list_outcomes(plan, results)
    # Rows that the scan rejected count together with clips that failed during extraction.
    dropped_rows = [*plan.scan.invalid_rows, *_list_failed_clips(outcomes)]
    usable_outcomes = [outcome for outcome in outcomes if not outcome[2].reason]
    streams = extraction.step.streams
    # Their features stay in the shards, but no row of the index points to them.
    disagreeing_rows = find_disagreeing_clips(
        [(task.clip, status.streams) for _, task, status in usable_outcomes], streams
    )
    dropped_rows += disagreeing_rows
    disagreeing_ids = {row.clip_id for row in disagreeing_rows}
    stored_outcomes = [
        outcome for outcome in usable_outcomes if outcome[1].clip.id not in disagreeing_ids
    ]
    num_rows = len(stored_outcomes) + len(dropped_rows)
    check_required_splits(dropped_rows, extraction.required_splits)
    check_dropped_share(dropped_rows, num_rows, extraction.max_dropped_share)
    records = [_make_clip_record(*outcome) for outcome in stored_outcomes]
    splits = _count_clips_and_frames(plan.scan.clips, records, streams)
    check_splits_not_empty({name: counts["clips"] for name, counts in splits.items()}, dropped_rows)
    files = _collect_shard_checksums(plan, results)
    files[INDEX] = write_arrow_table(folder / INDEX, build_index_table(records, streams))
    statistics = [status.statistics for _, _, status in stored_outcomes]
    if any(statistics):
        files[STATISTICS] = write_arrow_table(
            folder / STATISTICS, build_statistics_table(statistics)
        )
    # Before the manifest: its presence means that the folder holds exactly the listed files.
    _remove_unlisted_files(folder, files)
    manifest = {
        "format": STORE_FORMAT,
        "fingerprint": plan.scan.fingerprint,
        "tree": plan.scan.fingerprint_parts,
        "streams": {
            name: _build_stream_schema(name, stored_outcomes, extraction.dtype) for name in streams
        },
        "splits": splits,
        **_build_quality_section(stored_outcomes),
        "dropped": build_dropped_section(dropped_rows),
        **_build_files_sections(files),
    }
    write_store_manifest(folder, manifest)
    return dropped_rows


def _collect_shard_checksums(
    plan: ExtractionPlan, results: Sequence[ChunkResult]
) -> dict[str, FileChecksum]:
    """Return path of the shard, relative to the store → checksum, for all chunks with a shard.

    Args:
        plan: Plan that was executed.
        results: One result per chunk of the plan, in its order.
    """
    return {
        chunk.shard: result.shard
        for chunk, result in zip(plan.chunks, results, strict=True)
        if result.shard is not None
    }


def _build_files_sections(files: Mapping[str, FileChecksum]) -> dict[str, Any]:
    """Build the sections `bytes` (total size) and `files` (size and SHA-256) of the manifest.

    Args:
        files: Path of each file, relative to the store → checksum.
    """
    return {
        "bytes": sum(checksum.num_bytes for checksum in files.values()),
        "files": {
            name: {"bytes": checksum.num_bytes, "sha256": checksum.sha256}
            for name, checksum in files.items()
        },
    }


def _list_outcomes(plan: ExtractionPlan, results: Sequence[ChunkResult]) -> list[ClipOutcome]:
    """List the outcome of every clip of a plan, stored or dropped, in the order of the plan.

    Args:
        plan: Plan that was executed.
        results: One result per chunk of the plan, in its order.
    """
    return [
        (chunk, task, status)
        for chunk, result in zip(plan.chunks, results, strict=True)
        for task, status in zip(chunk.tasks, result.statuses, strict=True)
    ]


def _list_failed_clips(outcomes: Sequence[ClipOutcome]) -> list[InvalidRow]:
    """List the clips that failed during extraction as invalid rows, in the order of the plan."""
    return [
        InvalidRow(task.clip.row, task.clip.id, status.reason, status.message, task.clip.split)
        for _, task, status in outcomes
        if status.reason
    ]


def _make_clip_record(chunk: ClipChunk, task: ClipTask, status: ClipStatus) -> ClipRecord:
    """Create the index record of a stored clip.

    Args:
        chunk: Chunk that contains the clip.
        task: Clip and key of its features.
        status: Result for the clip, which must not be dropped.
    """
    # Without stored features there is no shard.
    is_stored = not any(stream.reads_video for stream in status.streams.values())
    return ClipRecord(
        clip=task.clip,
        lengths={name: stream.num_frames for name, stream in status.streams.items()},
        rates_hz={name: stream.rate_hz for name, stream in status.streams.items()},
        shard=chunk.shard if is_stored else "",
        shard_row=status.shard_row,
        key=task.key,
        digest=status.digest,
    )


def _count_clips_and_frames(
    splits: Mapping[str, object], records: Sequence[ClipRecord], streams: Sequence[str]
) -> dict[str, Any]:
    """Count the clips of each split and, for each stream, their frames.

    Args:
        splits: Mapping whose keys are the names of the splits.
        records: Records of all stored clips.
        streams: Names of the streams.

    Returns:
        Split → `clips`: number of clips, and `frames`: stream → number of frames.
    """
    counts: dict[str, Any] = {
        split: {"clips": 0, "frames": dict.fromkeys(streams, 0)} for split in splits
    }
    for record in records:
        counts[record.clip.split]["clips"] += 1
        for stream, length in record.lengths.items():
            counts[record.clip.split]["frames"][stream] += length
    return counts


def _build_quality_section(outcomes: Sequence[ClipOutcome]) -> dict[str, Any]:
    """Build the section `quality` of the manifest; none for media without points.

    Args:
        outcomes: Outcomes of all stored clips.
    """
    quality = compute_quality(
        (task.clip, status.statistics)
        for _, task, status in outcomes
        if status.statistics is not None
    )
    if not quality:
        return {}
    return {"quality": {split: values.to_json() for split, values in quality.items()}}


def _build_stream_schema(name: str, outcomes: Sequence[ClipOutcome], dtype: str) -> dict[str, Any]:
    """Build the schema of a stream from all stored clips, as plain values for the manifest.

    All clips have the same width and points (`find_disagreeing_clips`). The frame rate is None if
    clips differ in it.

    Args:
        name: Name of the stream.
        outcomes: Outcomes of all stored clips, at least one.
        dtype: Stored dtype of numbers; pixels and token ids have their own.
    """
    first = outcomes[0][2].streams[name]
    rates = [status.streams[name].rate_hz for _, _, status in outcomes]
    # None means that clips differ; the index then has the rate of each clip.
    rate_hz = rates[0] if len(set(rates)) == 1 else None
    rate_counts = () if rate_hz is not None else count_rates(rates)
    return StreamSchema(
        first.width,
        rate_hz,
        get_fixed_dtype(first.frame_size, first.vocabulary) or dtype,
        first.layout,
        first.has_mask,
        rate_counts,
        first.frame_size,
        first.reads_video,
        first.vocabulary,
    ).to_json()


def _remove_unlisted_files(folder: Path, files: Mapping[str, FileChecksum]) -> None:
    """Remove files from the folder `shards` that the manifest will not list.

    They are partial shards, counters of attempts and recorded devices.

    Args:
        folder: Staging folder.
        files: Path of each listed file, relative to the staging folder → checksum.
    """
    # A store that decodes its frames from videos has no shards, unless workers left files there.
    for path in (folder / "shards").glob("*"):
        if f"shards/{path.name}" not in files:
            path.unlink()
