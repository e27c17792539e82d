"""The join of the clips of several stores: those that have every stream that they should have.

A clip is joined by its id. It must be in the store of every part that provides its corpus,
whichever streams a recipe selects, so that recipes with other streams train and score the same
clips. What a part has dropped is dropped for the same reason; a clip that a part does not list is
dropped as `missing_stream`. The corpus is what the parts without an own source list: further clips
of an own source are counted and otherwise ignored.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kinesweep.core.clip import SPLITS, Clip, InvalidRow
from kinesweep.core.errors import StoreError
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


@dataclass(frozen=True)
class ListedPart:
    """A part of combined features with the clips of which it has features.

    Attributes:
        stream: Name of the stream.
        clips: Clips in the order of the part.
        corpora: Names of the corpora whose clips have the stream; None: all clips have it.
        defines_corpus: Whether the part reads the tables of the recipe's source rather than an own
            source.
    """

    stream: str
    clips: Sequence[Clip]
    corpora: tuple[str, ...] | None = None
    defines_corpus: bool = True

    def provides(self, clip: Clip) -> bool:
        """Return whether a clip should have the stream."""
        return self.corpora is None or clip.corpus in self.corpora


@dataclass(frozen=True)
class JoinPart:
    """A part of combined features with its store.

    Attributes:
        stream: Name of the stream.
        store: Store of the part, which has one stream.
        corpora: Names of the corpora whose clips have the stream; None: all clips have it.
        defines_corpus: Whether the part reads the tables of the recipe's source rather than an own
            source.
        epoch: Index of the variant of the training clips that the store holds; None if it holds all
            variants that its clips have.
    """

    stream: str
    store: Store
    corpora: tuple[str, ...] | None = None
    defines_corpus: bool = True
    epoch: int | None = None

    @property
    def stored_stream(self) -> str:
        """Return the name of the stream in the store."""
        (name,) = self.store.schema.streams
        return name

    @property
    def dropped_rows(self) -> list[InvalidRow]:
        """Return the rows that the store of the part lost."""
        return [InvalidRow(**row) for row in self.store.manifest["dropped"]["rows"]]

    @cached_property
    def records(self) -> dict[str, ClipRecord]:
        """Return clip id → record, in the order of the store."""
        return {
            record.clip.id: record
            for split in self.store.splits
            for record in self.store.get_records(split)
        }

    @cached_property
    def listed(self) -> ListedPart:
        """Return the part with the clips of its store."""
        clips = [record.clip for record in self.records.values()]
        return ListedPart(self.stream, clips, self.corpora, self.defines_corpus)


@dataclass(frozen=True)
class JoinedClip:
    """A clip that all its parts have.

    Attributes:
        clip: Metadata, those of the first part that has the clip.
        records: Stream → record in the store of its part, for every part that provides the clip.
    """

    clip: Clip
    records: Mapping[str, ClipRecord]


@dataclass(frozen=True)
class ClipJoin:
    """The result of joining the clips of several stores.

    Attributes:
        clips: Split → joined clips, in the order of the first part, then of the others.
        dropped_rows: Rows that a part lost, and clips that a part does not list; each clip once.
        ignored_counts: Stream → number of clips of its own source that are not in the corpus.
    """

    clips: Mapping[str, Sequence[JoinedClip]]
    dropped_rows: Sequence[InvalidRow]
    ignored_counts: Mapping[str, int]


def join_clips(parts: Sequence[JoinPart]) -> ClipJoin:
    """Join the clips of the stores of all parts.

    Args:
        parts: All parts of the features in their order, also those that are not selected.

    Raises:
        StoreError: If a clip is in different splits of two parts.
    """
    listed_parts = [part.listed for part in parts]
    known_ids, dropped_rows = find_dropped_rows(listed_parts, [part.dropped_rows for part in parts])
    dropped_ids = {row.clip_id for row in dropped_rows}
    splits = {split for part in parts for split in part.store.splits}
    # A split without clips stays, so that it is reported as empty.
    joined: dict[str, list[JoinedClip]] = {split: [] for split in SPLITS if split in splits}
    for clip in list_corpus(listed_parts):
        if clip.id in dropped_ids:
            continue
        records = {
            part.stream: part.records[clip.id] for part in parts if part.listed.provides(clip)
        }
        _check_same_split(clip, records)
        joined[clip.split].append(JoinedClip(clip, records))
    ignored = {part.stream: len(part.records.keys() - known_ids) for part in parts}
    return ClipJoin(joined, dropped_rows, {name: count for name, count in ignored.items() if count})


def find_dropped_rows(
    parts: Sequence[ListedPart], rows_by_part: Sequence[Sequence[InvalidRow]]
) -> tuple[set[str], list[InvalidRow]]:
    """Find the rows of the corpus that joining the parts drops.

    Args:
        parts: All parts.
        rows_by_part: Rows that each part lost, in the order of the parts.

    Returns:
        Ids of all clips of the corpus, and one row for each clip that is dropped.
    """
    # Dropped clips belong to the corpus too; otherwise they would count as further clips.
    known_ids = {clip.id for clip in list_corpus(parts)} | {
        row.clip_id
        for part, rows in zip(parts, rows_by_part, strict=True)
        if part.defines_corpus
        for row in rows
    }
    streams = [part.stream for part in parts]
    dropped_rows = _merge_dropped_rows(list(zip(streams, rows_by_part, strict=True)), known_ids)
    # After the merge, so that a clip that a part lost does not count as missing there as well.
    dropped_rows += _find_missing_streams(parts, {row.clip_id for row in dropped_rows})
    return known_ids, dropped_rows


def list_corpus(parts: Sequence[ListedPart]) -> list[Clip]:
    """List the clips of the corpus, each once, as the first part lists them that has them.

    The corpus is what the parts without an own source list; if all have one, what all list.

    Args:
        parts: All parts.
    """
    clips: dict[str, Clip] = {}
    for part in parts:
        if part.defines_corpus or not any(other.defines_corpus for other in parts):
            for clip in part.clips:
                clips.setdefault(clip.id, clip)
    return list(clips.values())


def _find_missing_streams(
    parts: Sequence[ListedPart], dropped_ids: Collection[str]
) -> list[InvalidRow]:
    """Find the clips of the corpus that lack a stream that they should have.

    Args:
        parts: All parts.
        dropped_ids: Ids of clips that are dropped for another reason, which are left out.

    Returns:
        One row per clip with the reason `missing_stream`, in the order of the corpus.
    """
    ids_by_part = [{clip.id for clip in part.clips} for part in parts]
    rows = []
    for clip in list_corpus(parts):
        missing = [
            f"`{part.stream}`"
            for part, ids in zip(parts, ids_by_part, strict=True)
            if part.provides(clip) and clip.id not in ids
        ]
        if missing and clip.id not in dropped_ids:
            message = (
                f"the clip has no stream {', '.join(missing)}: the source of the part has no clip"
                f" `{clip.id}`"
            )
            rows.append(InvalidRow(clip.row, clip.id, "missing_stream", message, clip.split))
    return rows


def _merge_dropped_rows(
    rows_by_part: Sequence[tuple[str, Sequence[InvalidRow]]], known_ids: Collection[str]
) -> list[InvalidRow]:
    """Merge the rows that the parts lost: a row of several parts counts once.

    Args:
        rows_by_part: Stream of each part, and the rows that it lost.
        known_ids: Ids of the clips of the corpus; rows of other clips are left out.
    """
    merged: list[InvalidRow] = []
    # Several rows of one table may have the same id, for example without a text; a later part adds
    # only those beyond the number that earlier parts have.
    counts: Counter[str] = Counter()
    for stream, rows in rows_by_part:
        part_counts: Counter[str] = Counter()
        for row in rows:
            part_counts[row.clip_id] += 1
            if part_counts[row.clip_id] > counts[row.clip_id] and row.clip_id in known_ids:
                counts[row.clip_id] += 1
                prefix = f"`{stream}`: " if row.split else ""
                merged.append(replace(row, message=prefix + row.message))
    return merged


def _check_same_split(clip: Clip, records: Mapping[str, ClipRecord]) -> None:
    """Check that a clip is in the same split of all parts.

    Raises:
        StoreError: If it is not.
    """
    for stream, record in records.items():
        if record.clip.split != clip.split:
            raise StoreError(
                f"clip `{clip.id}` is in the split {clip.split} ({clip.row}), but the source of"
                f" `{stream}` has it in {record.clip.split} ({record.clip.row}); a clip must be in"
                " the same split of all parts"
            )
