"""The plan of an extraction, known and shown before it starts.

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
from kinesweep.store.extraction.chunk_processor import CachedFeatures, Chunk, ClipTask
from kinesweep.store.extraction.corpus_scan import Extraction, Survey, survey_corpus
from kinesweep.store.format.reader import open_store
from kinesweep.store.format.writer import MANIFEST

_MOST_SHARDS = 256
"""Largest number of shards per store; each is an open file in every training process."""
_FEWEST_CLIPS = 32
"""Smallest chunk, in clips: 3 MB of poses, so that a few workers still share work evenly."""
_PROBES = 8
"""Number of clips from which the size of the store is estimated."""


@dataclass(frozen=True)
class PlanSummary:
    """An extraction in numbers.

    Attributes:
        splits: Split → number of clips to process.
        compute: Number of clips to compute.
        reuse: Number of clips to copy from other stores, or already in place.
        dropped: Number of rows known to be bad.
        media_bytes: Size of the media to read, in bytes.
        store_bytes: Estimated size of the store to write, in bytes.
        folder: Folder of the store.
        exists: True if the store exists and nothing will be done.
    """

    splits: dict[str, int]
    compute: int
    reuse: int
    dropped: int
    media_bytes: int
    store_bytes: int
    folder: Path
    exists: bool

    @property
    def text(self) -> str:
        """Return the summary as two lines of text."""
        splits = ", ".join(f"{name} {clips}" for name, clips in self.splits.items())
        head = f"{sum(self.splits.values())} clips ({splits}): {self.compute} to compute,"
        head += f" {self.reuse} already extracted, {self.dropped} rows dropped"
        if self.exists:
            return f"{head}\nNothing to do: {self.folder}"
        read, write = format_bytes(self.media_bytes), format_bytes(self.store_bytes)
        return f"{head}\nReads {read}, writes about {write} to {self.folder}"


@dataclass(frozen=True)
class Plan:
    """The chunks of an extraction and their summary.

    Attributes:
        survey: Survey of the corpus.
        chunks: Chunks in order.
        summary: Plan in numbers.
    """

    survey: Survey
    chunks: tuple[Chunk, ...]
    summary: PlanSummary


def describe_plan(recipe: Recipe, root: Path | None = None) -> PlanSummary:
    """Return the summary of the extraction that a recipe defines; writes nothing.

    Args:
        recipe: Recipe that defines the corpus, the features and the store.
        root: Folder that contains all stores; overrides the recipe's.
    """
    extraction = Extraction.from_recipe(recipe, root)
    survey = survey_corpus(extraction)
    folder = extraction.root / survey.folder_name
    if not folder.is_dir():
        return make_plan(extraction, survey).summary
    clips = {split: len(keyed) for split, keyed in survey.clips.items()}
    dropped = len(survey.problems)
    return PlanSummary(clips, 0, survey.num_clips, dropped, 0, 0, folder, exists=True)


def make_plan(extraction: Extraction, survey: Survey) -> Plan:
    """Divide a corpus into chunks and find features that other stores already have."""
    wanted = {key for keyed in survey.clips.values() for _, key, _ in keyed}
    earlier = find_earlier(extraction.root, wanted)
    # Ceiling division: at most `_MOST_SHARDS` chunks, plus a partial one per split.
    size = max(_FEWEST_CLIPS, -(-survey.num_clips // _MOST_SHARDS))
    chunks = []
    for split, keyed in survey.clips.items():
        entries = [ClipTask(clip, key, earlier.get(key)) for clip, key, _ in keyed]
        for number, first in enumerate(range(0, len(entries), size)):
            name = f"shards/{split}-{number:05d}.arrow"
            chunks.append(Chunk(name, tuple(entries[first : first + size])))
    return Plan(survey, tuple(chunks), _summary(extraction, survey, earlier))


def find_earlier(root: Path, wanted: set[str]) -> dict[str, CachedFeatures]:
    """Find existing features in all intact stores below a folder.

    Args:
        root: Folder that contains the stores.
        wanted: Keys of the clips.

    Returns:
        Key → location of the features.
    """
    found: dict[str, CachedFeatures] = {}
    for manifest in sorted(root.glob(f"*/{MANIFEST}")):
        try:
            store = open_store(manifest.parent)
        except StoreError:
            # Nothing can be copied from a damaged store or one of another format; its own users
            # see the error when they open it.
            continue
        for record in (record for split in store.splits for record in store.records(split)):
            if record.key in wanted and record.key not in found:
                found[record.key] = CachedFeatures(store.folder, record, store.num_bytes(record))
    return found


def check_room(summary: PlanSummary) -> None:
    """Raise an error if the disk cannot hold the features.

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


def _summary(
    extraction: Extraction, survey: Survey, earlier: dict[str, CachedFeatures]
) -> PlanSummary:
    """Return the plan in numbers."""
    listed = [item for keyed in survey.clips.values() for item in keyed]
    new = [item for item in listed if item[1] not in earlier]
    copied = sum(earlier[key].num_bytes for _, key, _ in listed if key in earlier)
    computed = len(new) * _mean_bytes(extraction, [clip for clip, _, _ in new])
    return PlanSummary(
        splits={split: len(keyed) for split, keyed in survey.clips.items()},
        compute=len(new),
        reuse=len(listed) - len(new),
        dropped=len(survey.problems),
        media_bytes=sum(num_bytes for _, _, num_bytes in new),
        store_bytes=round(copied + computed),
        folder=extraction.root / survey.folder_name,
        exists=False,
    )


def _mean_bytes(extraction: Extraction, clips: Sequence[Clip]) -> float:
    """Return the mean bytes per clip, from evenly spread clips; 0 if none of them is usable."""
    step = max(1, len(clips) // _PROBES)
    sizes = []
    for clip in clips[::step][:_PROBES]:
        try:
            shapes = extraction.step.shape(extraction.source.read(clip)).values()
            values = sum(frames * width for frames, width in shapes)
            sizes.append(values * np.dtype(extraction.dtype).itemsize)
        except ClipError:
            # The clip is counted as dropped when it is computed.
            continue
    return sum(sizes) / len(sizes) if sizes else 0.0
