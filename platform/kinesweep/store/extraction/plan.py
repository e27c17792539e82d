"""The plan of an extraction, which is made before anything is computed.

Clips are divided into chunks, one shard each, by their order alone. Neither the number of workers
nor the clips that can be copied move a clip to another shard, so the same corpus gives the same
bytes. The size of the store is estimated from a few clips spread over the corpus.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, StoreError
from kinesweep.core.units import format_bytes
from kinesweep.store.extraction.chunk_processor import CachedFeatures, ClipChunk, ClipTask
from kinesweep.store.extraction.corpus_scan import CorpusScan, ExtractionSpec, scan_corpus
from kinesweep.store.format.reader import open_store
from kinesweep.store.format.writer import MANIFEST

_MAX_SHARDS = 256
"""Largest number of shards per store; each is an open file in every training process."""
_MIN_CLIPS_PER_SHARD = 32
"""Smallest size of a chunk in clips: 3 MB of poses, so a few workers still share work evenly."""
_NUM_SAMPLED_CLIPS = 8
"""Number of clips from which the size of the store is estimated."""


@dataclass(frozen=True)
class ExtractionPlanSummary:
    """The planned work of an extraction in numbers.

    Attributes:
        splits: Split → number of clips to process.
        num_to_compute: Number of clips to compute.
        num_to_reuse: Number of clips to copy from other stores, or already in this one.
        num_dropped: Number of rows known to be invalid.
        media_bytes: Size of the media to read, in bytes.
        store_bytes: Estimated size of the store to write, in bytes.
        folder: Folder of the store.
        exists: True if the store exists and nothing will be done.
    """

    splits: dict[str, int]
    num_to_compute: int
    num_to_reuse: int
    num_dropped: int
    media_bytes: int
    store_bytes: int
    folder: Path
    exists: bool

    @property
    def text(self) -> str:
        """Return the summary as two lines of text."""
        splits = ", ".join(f"{name} {clips}" for name, clips in self.splits.items())
        text = f"{sum(self.splits.values())} clips ({splits}): {self.num_to_compute} to compute,"
        text += f" {self.num_to_reuse} already extracted, {self.num_dropped} rows dropped"
        if self.exists:
            return f"{text}\nNothing to do: {self.folder}"
        read, write = format_bytes(self.media_bytes), format_bytes(self.store_bytes)
        return f"{text}\nReads {read}, writes about {write} to {self.folder}"


@dataclass(frozen=True)
class ExtractionPlan:
    """The chunks of an extraction and their summary.

    Attributes:
        scan: Scan of the corpus.
        chunks: Chunks in order.
        summary: Plan in numbers.
    """

    scan: CorpusScan
    chunks: tuple[ClipChunk, ...]
    summary: ExtractionPlanSummary


def summarize_extraction_plan(recipe: Recipe, root: Path | None = None) -> ExtractionPlanSummary:
    """Summarize the extraction that a recipe defines, without writing anything.

    Args:
        recipe: Recipe that defines the corpus, the features and the store.
        root: Folder that contains all stores; overrides the recipe's.
    """
    extraction = ExtractionSpec.from_recipe(recipe, root)
    scan = scan_corpus(extraction)
    folder = extraction.root / scan.folder_name
    if not folder.is_dir():
        return make_extraction_plan(extraction, scan).summary
    clips = {split: len(keyed) for split, keyed in scan.clips.items()}
    num_dropped = len(scan.problems)
    return ExtractionPlanSummary(clips, 0, scan.num_clips, num_dropped, 0, 0, folder, exists=True)


def make_extraction_plan(extraction: ExtractionSpec, scan: CorpusScan) -> ExtractionPlan:
    """Divide the scanned clips into chunks and find features that other stores already have."""
    clip_keys = {key for keyed in scan.clips.values() for _, key, _ in keyed}
    cached = find_cached_features(extraction.root, clip_keys)
    # Ceiling division: at most `_MAX_SHARDS` chunks, plus a partial one per split.
    size = max(_MIN_CLIPS_PER_SHARD, -(-scan.num_clips // _MAX_SHARDS))
    chunks = []
    for split, keyed in scan.clips.items():
        tasks = [ClipTask(clip, key, cached.get(key)) for clip, key, _ in keyed]
        for number, first in enumerate(range(0, len(tasks), size)):
            name = f"shards/{split}-{number:05d}.arrow"
            chunks.append(ClipChunk(name, tuple(tasks[first : first + size])))
    return ExtractionPlan(scan, tuple(chunks), _summarize_plan(extraction, scan, cached))


def find_cached_features(root: Path, clip_keys: set[str]) -> dict[str, CachedFeatures]:
    """Find the existing features of clips in all intact stores below a folder.

    Args:
        root: Folder that contains the stores.
        clip_keys: Keys of the clips.

    Returns:
        Key → location of the features.
    """
    cached: dict[str, CachedFeatures] = {}
    for manifest in sorted(root.glob(f"*/{MANIFEST}")):
        try:
            store = open_store(manifest.parent)
        except StoreError:
            # Nothing can be copied from a damaged store or one of another format; its own users
            # see the error when they open it.
            continue
        for record in (record for split in store.splits for record in store.get_records(split)):
            if record.key in clip_keys and record.key not in cached:
                cached[record.key] = CachedFeatures(
                    store.folder, record, store.get_num_bytes(record)
                )
    return cached


def check_disk_space(summary: ExtractionPlanSummary) -> None:
    """Check that the disk has space for the features.

    Raises:
        StoreError: If there is too little free space.
    """
    folder = summary.folder.parent
    # The root may not exist yet; its nearest existing parent is on the same disk.
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if summary.store_bytes > free:
        raise StoreError(
            f"the features need about {format_bytes(summary.store_bytes)}, but `{folder}` has"
            f" {format_bytes(free)} left; free disk space, or set `store.root` to another disk"
        )


def _summarize_plan(
    extraction: ExtractionSpec, scan: CorpusScan, cached: dict[str, CachedFeatures]
) -> ExtractionPlanSummary:
    """Count the clips to compute and to copy, and estimate the bytes to read and write."""
    keyed_clips = [item for keyed in scan.clips.values() for item in keyed]
    uncached = [item for item in keyed_clips if item[1] not in cached]
    copied_bytes = sum(cached[key].num_bytes for _, key, _ in keyed_clips if key in cached)
    computed_bytes = len(uncached) * _estimate_bytes_per_clip(
        extraction, [clip for clip, _, _ in uncached]
    )
    return ExtractionPlanSummary(
        splits={split: len(keyed) for split, keyed in scan.clips.items()},
        num_to_compute=len(uncached),
        num_to_reuse=len(keyed_clips) - len(uncached),
        num_dropped=len(scan.problems),
        media_bytes=sum(num_bytes for _, _, num_bytes in uncached),
        store_bytes=round(copied_bytes + computed_bytes),
        folder=extraction.root / scan.folder_name,
        exists=False,
    )


def _estimate_bytes_per_clip(extraction: ExtractionSpec, clips: Sequence[Clip]) -> float:
    """Estimate the stored bytes per clip from evenly spread clips; 0 if none is usable."""
    step = max(1, len(clips) // _NUM_SAMPLED_CLIPS)
    sizes = []
    for clip in clips[::step][:_NUM_SAMPLED_CLIPS]:
        try:
            shapes = extraction.step.estimate_shapes(extraction.source.read(clip)).values()
            values = sum(frames * width for frames, width in shapes)
            sizes.append(values * np.dtype(extraction.dtype).itemsize)
        except ClipError:
            # The clip is counted as dropped when it is computed.
            continue
    return sum(sizes) / len(sizes) if sizes else 0.0
