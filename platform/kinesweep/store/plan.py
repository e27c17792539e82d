"""What an extraction will do, known and shown before it starts.

Clips are cut into chunks, one shard each, by their order alone: neither the number of workers nor
what can be copied moves a clip to another shard, so the same corpus gives the same bytes. The bytes
to be written are estimated from a few clips spread over the corpus.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, StoreError
from kinesweep.core.recipe import Recipe
from kinesweep.core.units import format_bytes
from kinesweep.store.compute import Chunk, Earlier, Entry
from kinesweep.store.reader import open_store
from kinesweep.store.survey import Extraction, Survey, survey_corpus
from kinesweep.store.writer import MANIFEST

_MOST_SHARDS = 256
"""Shards of a large corpus: each one is an open file in every process that trains."""
_FEWEST_CLIPS = 32
"""Clips in a shard of a small corpus: 3 MB of poses, so that few workers still share evenly."""
_PROBES = 8
"""Clips from which the bytes to be written are estimated."""


@dataclass(frozen=True)
class PlanSummary:
    """An extraction in numbers.

    Attributes:
        splits: split → clips that will be tried.
        compute: clips to compute.
        reuse: clips to copy from other stores, or already in place.
        dropped: rows known to be bad.
        media_bytes: what will be read.
        store_bytes: about what will be written.
        folder: the store.
        exists: it is there already, nothing will be done.
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
        """For people, in two lines."""
        splits = ", ".join(f"{name} {clips}" for name, clips in self.splits.items())
        head = f"{sum(self.splits.values())} clips ({splits}): {self.compute} to compute,"
        head += f" {self.reuse} already extracted, {self.dropped} rows dropped"
        if self.exists:
            return f"{head}\nNothing to do: {self.folder}"
        read, write = format_bytes(self.media_bytes), format_bytes(self.store_bytes)
        return f"{head}\nReads {read}, writes about {write} to {self.folder}"


@dataclass(frozen=True)
class Plan:
    """The chunks of an extraction, in order, and what they come to."""

    survey: Survey
    chunks: tuple[Chunk, ...]
    summary: PlanSummary


def describe_plan(recipe: Recipe, root: Path | None = None) -> PlanSummary:
    """Counts and bytes of the extraction that a recipe asks for; writes nothing."""
    extraction = Extraction.from_recipe(recipe, root)
    survey = survey_corpus(extraction)
    folder = extraction.root / survey.folder_name
    if not folder.is_dir():
        return make_plan(extraction, survey).summary
    clips = {split: len(keyed) for split, keyed in survey.clips.items()}
    dropped = len(survey.problems)
    return PlanSummary(clips, 0, survey.num_clips, dropped, 0, 0, folder, exists=True)


def make_plan(extraction: Extraction, survey: Survey) -> Plan:
    """Cuts a corpus into chunks and finds what other stores have of it."""
    wanted = {key for keyed in survey.clips.values() for _, key, _ in keyed}
    earlier = find_earlier(extraction.root, wanted)
    size = max(_FEWEST_CLIPS, -(-survey.num_clips // _MOST_SHARDS))
    chunks = []
    for split, keyed in survey.clips.items():
        entries = [Entry(clip, key, earlier.get(key)) for clip, key, _ in keyed]
        for number, first in enumerate(range(0, len(entries), size)):
            name = f"shards/{split}-{number:05d}.arrow"
            chunks.append(Chunk(name, tuple(entries[first : first + size])))
    return Plan(survey, tuple(chunks), _summary(extraction, survey, earlier))


def find_earlier(root: Path, wanted: set[str]) -> dict[str, Earlier]:
    """Key → where its features lie, over all intact stores below a root."""
    found: dict[str, Earlier] = {}
    for manifest in sorted(root.glob(f"*/{MANIFEST}")):
        try:
            store = open_store(manifest.parent)
        except StoreError:
            # A damaged or foreign store has nothing to give; its own users are told when they
            # open it.
            continue
        for record in (record for split in store.splits for record in store.records(split)):
            if record.key in wanted and record.key not in found:
                found[record.key] = Earlier(store.folder, record, store.num_bytes(record))
    return found


def check_room(summary: PlanSummary) -> None:
    """Refuses an extraction that the disk cannot hold.

    Raises:
        StoreError: too little space.
    """
    folder = summary.folder.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if summary.store_bytes > free:
        raise StoreError(
            f"the features need about {format_bytes(summary.store_bytes)}, but `{folder}` has"
            f" {format_bytes(free)} left; free some, or set `store.root` to another disk"
        )


def _summary(extraction: Extraction, survey: Survey, earlier: dict[str, Earlier]) -> PlanSummary:
    """The plan in numbers."""
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
    """Bytes of a clip's features, from a few clips spread evenly; 0 when none can be used."""
    step = max(1, len(clips) // _PROBES)
    sizes = []
    for clip in clips[::step][:_PROBES]:
        try:
            shapes = extraction.step.shape(extraction.source.read(clip)).values()
            values = sum(frames * width for frames, width in shapes)
            sizes.append(values * np.dtype(extraction.dtype).itemsize)
        except ClipError:
            # Counted when the clip's turn comes.
            continue
    return sum(sizes) / len(sizes) if sizes else 0.0
