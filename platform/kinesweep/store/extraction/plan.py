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
from kinesweep.config.recipe.features.feature_epochs import list_part_recipes
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
        splits: Split → number of usable clips.
        num_to_compute: Number of clips to compute.
        num_to_reuse: Number of clips that are copied from other stores, or that the existing store
            contains.
        num_dropped: Number of rows known to be invalid.
        media_bytes: Size of the media to read in bytes.
        store_bytes: Estimated size of the store to write in bytes.
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
        """Return the summary as two lines of text: clip counts, and bytes to read and write."""
        splits_text = ", ".join(f"{split} {num_clips}" for split, num_clips in self.splits.items())
        counts_text = (
            f"{sum(self.splits.values())} clips ({splits_text}): {self.num_to_compute} to compute,"
            f" {self.num_to_reuse} already extracted, {self.num_dropped} rows dropped"
        )
        if self.exists:
            return f"{counts_text}\nNothing to do: {self.folder}"
        return (
            f"{counts_text}\nReads {format_bytes(self.media_bytes)}, writes about"
            f" {format_bytes(self.store_bytes)} to {self.folder}"
        )


@dataclass(frozen=True)
class ExtractionPlan:
    """The chunks of an extraction and their summary.

    Attributes:
        scan: Scan of the corpus.
        chunks: Chunks in the order of the splits and, within a split, of its clips.
        summary: Plan in numbers.
    """

    scan: CorpusScan
    chunks: tuple[ClipChunk, ...]
    summary: ExtractionPlanSummary


def summarize_extraction_plan(recipe: Recipe, root: Path | None = None) -> ExtractionPlanSummary:
    """Plan the extraction that a recipe defines and return a summary, without writing anything.

    The corpus is scanned, and up to 8 clips are read to estimate the size of the store.

    An entry point, so it takes the whole recipe: source, features and store determine the store
    together (see `ExtractionSpec.from_recipe`). For several parts of features, the work of all
    parts is summed.

    Args:
        recipe: Recipe that defines the corpus, the features and the store.
        root: Folder that contains all stores. Default: `store.root` of the recipe, then the state
            folder.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
    """
    if part_recipes := list_part_recipes(recipe):
        return sum_plan_summaries(
            [summarize_extraction_plan(part_recipe, root) for part_recipe in part_recipes]
        )
    extraction = ExtractionSpec.from_recipe(recipe, root)
    scan = scan_corpus(extraction)
    folder = extraction.root / scan.folder_name
    if not folder.is_dir():
        return make_extraction_plan(extraction, scan).summary
    return ExtractionPlanSummary(
        splits={split: len(keyed_clips) for split, keyed_clips in scan.clips.items()},
        num_to_compute=0,
        num_to_reuse=scan.num_clips,
        num_dropped=len(scan.invalid_rows),
        media_bytes=0,
        store_bytes=0,
        folder=folder,
        exists=True,
    )


def sum_plan_summaries(summaries: Sequence[ExtractionPlanSummary]) -> ExtractionPlanSummary:
    """Sum the plans of the parts of a recipe's features.

    Clips of several parts count several times, except in `splits`, which has those of the part with
    the most. The folder is that of the first part; the combined store is made from the parts.

    Args:
        summaries: Summary of each part; equal parts count once.
    """
    parts = list({summary.folder: summary for summary in summaries}.values())
    splits: dict[str, int] = {}
    for part in parts:
        splits |= {split: max(count, splits.get(split, 0)) for split, count in part.splits.items()}
    return ExtractionPlanSummary(
        splits=splits,
        num_to_compute=sum(part.num_to_compute for part in parts),
        num_to_reuse=sum(part.num_to_reuse for part in parts),
        num_dropped=sum(part.num_dropped for part in parts),
        media_bytes=sum(part.media_bytes for part in parts),
        store_bytes=sum(part.store_bytes for part in parts),
        folder=parts[0].folder,
        exists=all(part.exists for part in parts),
    )


def make_extraction_plan(extraction: ExtractionSpec, scan: CorpusScan) -> ExtractionPlan:
    """Plan an extraction: divide its clips into chunks and find features in other stores.

    Up to 8 clips that must be computed are read to estimate the size of the store.

    Args:
        extraction: Source, feature step and root of all stores.
        scan: Scan of the corpus.
    """
    clip_keys = {key for keyed_clips in scan.clips.values() for _, key, _ in keyed_clips}
    cached = find_cached_features(extraction.root, clip_keys)
    # Ceiling division: at most `_MAX_SHARDS` chunks, plus a partial one per split.
    clips_per_chunk = max(_MIN_CLIPS_PER_SHARD, -(-scan.num_clips // _MAX_SHARDS))
    chunks = []
    for split, keyed_clips in scan.clips.items():
        tasks = [ClipTask(clip, key, cached.get(key)) for clip, key, _ in keyed_clips]
        for shard_index, start in enumerate(range(0, len(tasks), clips_per_chunk)):
            shard = f"shards/{split}-{shard_index:05d}.arrow"
            chunks.append(ClipChunk(shard, tuple(tasks[start : start + clips_per_chunk])))
    return ExtractionPlan(scan, tuple(chunks), _summarize_plan(extraction, scan, cached))


def find_cached_features(root: Path, clip_keys: set[str]) -> dict[str, CachedFeatures]:
    """Find the existing features of clips in the stores of a folder.

    Stores that cannot be opened are skipped.

    Args:
        root: Folder that contains the stores.
        clip_keys: Keys of the clips.

    Returns:
        Key → location of the features, without the keys that no store contains. The first store by
        name is chosen if several have a clip.
    """
    cached: dict[str, CachedFeatures] = {}
    for manifest in sorted(root.glob(f"*/{MANIFEST}")):
        try:
            store = open_store(manifest.parent)
        except StoreError:
            # Nothing can be copied from a damaged store or one of another format; its own users
            # see the error when they open it.
            continue
        if store.parts is not None:
            continue  # a combined store holds no features of its own
        for record in (record for split in store.splits for record in store.get_records(split)):
            if record.key in clip_keys and record.key not in cached:
                cached[record.key] = CachedFeatures(
                    store.folder, record, store.compute_clip_bytes(record)
                )
    return cached


def check_disk_space(summary: ExtractionPlanSummary) -> None:
    """Check that the disk of the store's folder has space for the estimated size of the features.

    Args:
        summary: Summary of the plan.

    Raises:
        StoreError: If there is too little free space.
    """
    folder = summary.folder.parent
    # The root may not exist yet; its nearest existing parent is on the same disk.
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    if summary.store_bytes > free_bytes:
        raise StoreError(
            f"the features need about {format_bytes(summary.store_bytes)}, but `{folder}` has"
            f" {format_bytes(free_bytes)} left; free disk space, or set `store.root` to another"
            " disk"
        )


def _summarize_plan(
    extraction: ExtractionSpec, scan: CorpusScan, cached: dict[str, CachedFeatures]
) -> ExtractionPlanSummary:
    """Count the clips to compute and to copy, and estimate the bytes to read and write.

    Up to 8 clips that must be computed are read for the estimate.

    Args:
        extraction: Source, feature step and root of all stores.
        scan: Scan of the corpus.
        cached: Key → location of existing features.
    """
    all_clips = [keyed_clip for keyed_clips in scan.clips.values() for keyed_clip in keyed_clips]
    uncached_clips = [keyed_clip for keyed_clip in all_clips if keyed_clip[1] not in cached]
    copied_bytes = sum(cached[key].num_bytes for _, key, _ in all_clips if key in cached)
    computed_bytes = len(uncached_clips) * _estimate_bytes_per_clip(
        extraction, [clip for clip, _, _ in uncached_clips]
    )
    return ExtractionPlanSummary(
        splits={split: len(keyed_clips) for split, keyed_clips in scan.clips.items()},
        num_to_compute=len(uncached_clips),
        num_to_reuse=len(all_clips) - len(uncached_clips),
        num_dropped=len(scan.invalid_rows),
        media_bytes=sum(num_bytes for _, _, num_bytes in uncached_clips),
        store_bytes=round(copied_bytes + computed_bytes),
        folder=extraction.root / scan.folder_name,
        exists=False,
    )


def _estimate_bytes_per_clip(extraction: ExtractionSpec, clips: Sequence[Clip]) -> float:
    """Estimate the mean stored bytes of a clip by reading up to 8 clips, spread evenly.

    Args:
        extraction: Source, feature step and stored dtype.
        clips: Clips to compute.

    Returns:
        The mean over the sampled clips whose media can be read; 0 if there is none.
    """
    stride = max(1, len(clips) // _NUM_SAMPLED_CLIPS)
    clip_bytes = []
    for clip in clips[::stride][:_NUM_SAMPLED_CLIPS]:
        try:
            shapes = extraction.step.estimate_shapes(extraction.source.read(clip)).values()
            num_values = sum(num_frames * width for num_frames, width in shapes)
            clip_bytes.append(num_values * np.dtype(extraction.dtype).itemsize)
        except ClipError:
            # The clip is counted as dropped when it is computed.
            continue
    return sum(clip_bytes) / len(clip_bytes) if clip_bytes else 0.0
