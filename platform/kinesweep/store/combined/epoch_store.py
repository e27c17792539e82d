"""The store of a corpus whose training clips vary between epochs.

Each variant of the training clips is a store of its own, and so are the splits that do not vary.
The store that a recipe uses refers to all of them, as a combined store refers to its parts, and its
index has the lengths of every variant. More epochs need only new stores of the new variants, and an
extraction that was killed continues after the last variant that is complete.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.feature_epochs import list_epoch_recipes
from kinesweep.core.clip import SPLITS, InvalidRow
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.store.combined.clip_join import ClipJoin, JoinedClip, JoinPart
from kinesweep.store.combined.combine import check_limits, sum_extraction_counts
from kinesweep.store.combined.combined_manifest import write_combined_store
from kinesweep.store.format.fingerprint import STORE_FORMAT
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


def combine_epoch_stores(recipe: Recipe, extract: Callable[[Recipe], Store]) -> Store:
    """Extract the variants of a corpus, and build, or find, the store that refers to them.

    A training clip that one variant lacks is dropped from all.

    Args:
        recipe: Recipe whose training clips vary between epochs.
        extract: Function that extracts the store of one part, unless it exists.

    Returns:
        The store; its `extraction` attribute sums the counts of the parts.

    Raises:
        StoreError: If too many clips are dropped, a split is incomplete or empty, or the features
            of variants do not agree.
    """
    parts: list[JoinPart] = []
    for item in list_epoch_recipes(recipe):
        store = extract(item.recipe)
        (stream,) = store.schema.streams  # videos and precomputed features have one
        parts.append(JoinPart(stream, store, epoch=item.epoch))
        if item.epoch == 0:
            # Too many dropped clips are an error before further variants are computed.
            check_limits(_join_parts(parts), recipe.required_splits, recipe.store.max_dropped_share)
    join = _join_parts(parts)
    check_limits(join, recipe.required_splits, recipe.store.max_dropped_share)
    records = {
        split: [_make_record(item.records[stream], parts, row) for row, item in enumerate(clips)]
        for split, clips in join.clips.items()
    }
    store = write_combined_store(join, parts, records, _build_fingerprint_parts(parts))
    store.extraction = sum_extraction_counts(parts, join)
    return store


def _join_parts(parts: Sequence[JoinPart]) -> ClipJoin:
    """Join the clips of all parts; a training clip must be in every variant.

    Args:
        parts: Splits that do not vary, if there are any, and one part for each variant.
    """
    variants = [part for part in parts if part.epoch is not None]
    # An epoch must not have fewer clips than another, or the number of batches would vary.
    shared_ids = set.intersection(*(set(part.records) for part in variants))
    joined: dict[str, list[JoinedClip]] = {}
    dropped_rows: dict[tuple[str, str], InvalidRow] = {}
    for part in parts:
        for row in part.dropped_rows:
            # The row of a table is lost once, however many variants lost it.
            dropped_rows.setdefault((row.row, row.clip_id), row)
        if part.epoch in (None, 0):
            for split in part.store.splits:
                # By split, because two splits may have clips of the same id.
                joined[split] = [
                    JoinedClip(record.clip, {part.stream: record})
                    for record in part.store.get_records(split)
                    if part.epoch is None or record.clip.id in shared_ids
                ]
    ordered = {split: joined[split] for split in SPLITS if split in joined}
    return ClipJoin(ordered, list(dropped_rows.values()), {})


def _make_record(record: ClipRecord, parts: Sequence[JoinPart], row: int) -> ClipRecord:
    """Make the record of a clip with the lengths of its variants.

    Args:
        record: Record of the clip in the store of its only, or its first variant.
        parts: All parts.
        row: Position of the clip in its split.
    """
    # The combined store has no shards of its own; the row leads to the parts.
    record = replace(record, shard="", shard_row=row)
    if record.clip.split != "train":
        return record
    variants = [part.records[record.clip.id] for part in parts if part.epoch is not None]
    return replace(
        record,
        key=compute_fingerprint([variant.key for variant in variants]),
        digest=compute_fingerprint([variant.digest for variant in variants]),
        epoch_lengths=tuple(variant.lengths for variant in variants[1:]),
    )


def _build_fingerprint_parts(parts: Sequence[JoinPart]) -> dict[str, Any]:
    """Build the values that determine the content of the store: the fingerprints of its parts."""
    return {
        "format": STORE_FORMAT,
        "epochs": [[part.epoch, part.store.fingerprint] for part in parts],
    }
