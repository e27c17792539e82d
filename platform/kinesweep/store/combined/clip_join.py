"""The join of the clips of several stores: those that have every stream that they should have.

A clip is joined by its id. It must be in the store of every part that provides its corpus, whichever
streams a recipe selects, so that recipes with other streams train and score the same clips. What a
part has dropped is dropped for the same reason; a clip that a part does not list is dropped as
`missing_stream`. The corpus is what the parts without an own source list: further clips of an own
source are counted and otherwise ignored.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kinesweep.core.clip import SPLITS, Clip, InvalidRow
from kinesweep.core.errors import StoreError
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


@dataclass(frozen=True)
class JoinPart:
    """A part of combined features with its store.

    Attributes:
        stream: Name of the stream.
        store: Store of the part, which has one stream.
        corpora: Names of the corpora whose clips have the stream; None: all clips have it.
        defines_corpus: Whether the part reads the tables of the recipe's source rather than an own
            source.
    """

    stream: str
    store: Store
    corpora: tuple[str, ...] | None = None
    defines_corpus: bool = True

    @property
    def stored_stream(self) -> str:
        """Return the name of the stream in the store."""
        (name,) = self.store.schema.streams
        return name

    @property
    def dropped_rows(self) -> list[InvalidRow]:
        """Return the rows that the store of the part lost."""
        return [InvalidRow(**row) for row in self.store.manifest["dropped"]["rows"]]

    def provides(self, clip: Clip) -> bool:
        """Return whether a clip should have the stream."""
        return self.corpora is None or clip.corpus in self.corpora


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
    records_by_part = [_index_records(part.store) for part in parts]
    clips = _list_corpus(parts, records_by_part)
    dropped_by_part = [part.dropped_rows for part in parts]
    known_ids = _list_known_ids(parts, clips, dropped_by_part)
    dropped_rows = _merge_dropped_rows(parts, dropped_by_part, known_ids)
    dropped_ids = {row.clip_id for row in dropped_rows}
    splits = {split for part in parts for split in part.store.splits}
    joined: dict[str, list[JoinedClip]] = {split: [] for split in SPLITS if split in splits}
    for clip in clips:
        if clip.id in dropped_ids:
            continue
        records = {
            part.stream: records[clip.id]
            for part, records in zip(parts, records_by_part, strict=True)
            if part.provides(clip) and clip.id in records
        }
        _check_same_split(clip, records)
        missing = [part.stream for part in parts if part.provides(clip)]
        missing = [stream for stream in dict.fromkeys(missing) if stream not in records]
        if missing:
            names = ", ".join(f"`{stream}`" for stream in missing)
            message = (
                f"the clip has no stream {names}: the source of the part has no clip `{clip.id}`"
            )
            dropped_rows.append(
                InvalidRow(clip.row, clip.id, "missing_stream", message, clip.split)
            )
        else:
            joined[clip.split].append(JoinedClip(clip, records))
    ignored = {
        part.stream: num_ignored
        for part, records in zip(parts, records_by_part, strict=True)
        if (num_ignored := len(records.keys() - known_ids))
    }
    return ClipJoin(joined, dropped_rows, ignored)


def _index_records(store: Store) -> dict[str, ClipRecord]:
    """Return clip id → record, in the order of the store."""
    return {record.clip.id: record for split in store.splits for record in store.get_records(split)}


def _list_corpus(
    parts: Sequence[JoinPart], records_by_part: Sequence[Mapping[str, ClipRecord]]
) -> list[Clip]:
    """List the clips of the corpus, each once, as the first part lists them that has them.

    Args:
        parts: All parts.
        records_by_part: Clip id → record for each of them.
    """
    clips: dict[str, Clip] = {}
    for part, records in zip(parts, records_by_part, strict=True):
        if part.defines_corpus or not any(other.defines_corpus for other in parts):
            for record in records.values():
                clips.setdefault(record.clip.id, record.clip)
    return list(clips.values())


def _list_known_ids(
    parts: Sequence[JoinPart],
    clips: Iterable[Clip],
    dropped_by_part: Sequence[Sequence[InvalidRow]],
) -> set[str]:
    """List the ids of all clips of the corpus, with those that a part without own source dropped."""
    dropped = {
        row.clip_id
        for part, rows in zip(parts, dropped_by_part, strict=True)
        for row in rows
        if part.defines_corpus
    }
    return dropped | {clip.id for clip in clips}


def _merge_dropped_rows(
    parts: Sequence[JoinPart],
    dropped_by_part: Sequence[Sequence[InvalidRow]],
    known_ids: set[str],
) -> list[InvalidRow]:
    """Merge the rows that the parts lost: a row of several parts counts once.

    Args:
        parts: All parts.
        dropped_by_part: Rows that each of them lost.
        known_ids: Ids of the clips of the corpus; rows of other clips are left out.
    """
    merged: list[InvalidRow] = []
    # Several rows of one table may have the same id, for example without a text; a later part adds
    # only those beyond the number that earlier parts have.
    counts: Counter[str] = Counter()
    for part, rows in zip(parts, dropped_by_part, strict=True):
        part_counts: Counter[str] = Counter()
        for row in rows:
            part_counts[row.clip_id] += 1
            if part_counts[row.clip_id] > counts[row.clip_id] and row.clip_id in known_ids:
                counts[row.clip_id] += 1
                prefix = f"`{part.stream}`: " if row.split else ""
                merged.append(
                    InvalidRow(row.row, row.clip_id, row.reason, prefix + row.message, row.split)
                )
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
