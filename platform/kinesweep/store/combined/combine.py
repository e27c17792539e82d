"""The store of combined features: a folder that names the stores of its parts.

Each part is extracted as if the recipe had no other features, so it is found by its own fingerprint
and computed once, whichever recipes use it. The combined store holds an index of the joined clips
and a manifest; no features are copied. Its fingerprint covers the selected streams and the joined
clips, not the parts that are left out. If the clips of a single selected part are those of the
join, its store is the result itself, and runs on it are those of a recipe with only this part.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.combined import CombinedFeaturesConfig
from kinesweep.config.recipe.sources.part_sources import find_part_corpora
from kinesweep.core.clip import Clip
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.store.combined.clip_join import ClipJoin, JoinedClip, JoinPart, join_clips
from kinesweep.store.combined.combined_manifest import write_combined_store
from kinesweep.store.extraction.drop_policy import (
    check_dropped_share,
    check_required_splits,
    check_splits_not_empty,
)
from kinesweep.store.format.fingerprint import (
    STORE_FORMAT,
    compute_invalid_rows_fingerprint,
    compute_split_fingerprint,
)
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import ExtractionCounts, Store, open_store


def combine_part_stores(
    recipe: Recipe,
    extract: Callable[[Recipe], Store],
    on_join: Callable[[ClipJoin], None] | None = None,
) -> Store:
    """Extract the parts of a recipe's features and build, or find, the store that combines them.

    Args:
        recipe: Recipe with combined features.
        extract: Function that extracts the store of a part, unless it exists, from a recipe with
            only this part.
        on_join: Callback that receives the joined clips before the limits are checked.

    Returns:
        The store; its `extraction` attribute sums the counts of the parts.

    Raises:
        StoreError: If too many clips are dropped in a part or in all parts together, a split is
            incomplete or empty, or parts of one stream do not agree.
    """
    features = recipe.features
    assert isinstance(features, CombinedFeaturesConfig)
    parts = [
        JoinPart(
            part.name,
            extract(part_recipe),
            find_part_corpora(recipe.source, part),
            defines_corpus=part.source is None,
        )
        for part, part_recipe in recipe.part_recipes
    ]
    join = join_clips(parts)
    if on_join is not None:
        on_join(join)
    # After the callback, which reports the dropped rows even if there are too many.
    check_limits(join, recipe.required_splits, recipe.store.max_dropped_share)
    selected = [part for name in features.streams for part in parts if part.stream == name]
    store = _find_equal_part(join, selected) or _build_combined_store(join, selected)
    store.extraction = sum_extraction_counts(parts, join)
    return store


def check_limits(join: ClipJoin, required_splits: Sequence[str], max_share: float) -> None:
    """Check the limits of a combined store with the rows that the join dropped.

    Args:
        join: Joined clips and dropped rows.
        required_splits: Splits of which no clip may be dropped.
        max_share: Largest allowed share of dropped rows, from 0 to 1.

    Raises:
        StoreError: If too many clips are dropped, or a split is incomplete or empty.
    """
    counts = {split: len(clips) for split, clips in join.clips.items()}
    num_rows = sum(counts.values()) + len(join.dropped_rows)
    check_required_splits(join.dropped_rows, required_splits)
    check_dropped_share(join.dropped_rows, num_rows, max_share)
    check_splits_not_empty(counts, join.dropped_rows)


def _find_equal_part(join: ClipJoin, selected: Sequence[JoinPart]) -> Store | None:
    """Return the store of the only selected part if it holds what a combined store would hold.

    It does if its stream has the same name and its clips are those of the join, in the same order.
    """
    part = selected[0]
    if len(selected) > 1 or part.stream != part.stored_stream:
        return None
    if part.store.splits != tuple(join.clips):
        return None
    for split, clips in join.clips.items():
        part_clips = [record.clip for record in part.store.get_records(split)]
        if [strip_location(item.clip) for item in clips] != list(map(strip_location, part_clips)):
            return None
    # Opened again, because the counts of the whole join are set on the result.
    return open_store(part.store.folder)


def strip_location(clip: Clip) -> Clip:
    """Return a clip without its media and row, which differ between parts."""
    return replace(clip, media="", row="", span=type(clip.span)())


def sum_extraction_counts(parts: Sequence[JoinPart], join: ClipJoin) -> ExtractionCounts:
    """Sum the numbers of clips that the extraction of the parts computed and reused.

    Args:
        parts: All parts, whose stores may be the same.
        join: Joined clips, whose dropped rows are counted once.
    """
    stores = {part.store.folder: part.store.extraction for part in parts}
    counts = [count for count in stores.values() if count is not None]
    return ExtractionCounts(
        sum(count.computed for count in counts),
        sum(count.reused for count in counts),
        len(join.dropped_rows),
    )


def _build_combined_store(join: ClipJoin, selected: Sequence[JoinPart]) -> Store:
    """Write the store of the selected parts beside their stores, or open it if it exists.

    Args:
        join: Joined clips of all parts.
        selected: Selected parts, in the order of the streams.

    Raises:
        StoreError: If parts of one stream have other widths, points or types.
    """
    streams = list(dict.fromkeys(part.stream for part in selected))
    records = {
        split: [_make_record(item, streams, row) for row, item in enumerate(clips)]
        for split, clips in join.clips.items()
    }
    tree = _build_fingerprint_parts(join, records, streams)
    return write_combined_store(join, selected, records, tree)


def _make_record(item: JoinedClip, streams: Sequence[str], row: int) -> ClipRecord:
    """Make the record of a clip in a combined store.

    Args:
        item: Clip with its records in the parts.
        streams: Selected streams.
        row: Position of the clip in its split.
    """
    parts = {name: item.records[name] for name in streams if name in item.records}
    # Streams with different numbers of variants repeat them until all start again together.
    num_variants = math.lcm(*(len(record.all_lengths) for record in parts.values()))
    # No other store has such keys, so nothing is ever copied from a combined store.
    return ClipRecord(
        clip=item.clip,
        lengths={name: _get_only(record.lengths) for name, record in parts.items()},
        rates_hz={name: _get_only(record.rates_hz) for name, record in parts.items()},
        shard_row=row,
        key=compute_fingerprint({name: record.key for name, record in parts.items()}),
        digest=compute_fingerprint({name: record.digest for name, record in parts.items()}),
        epoch_lengths=tuple(
            {name: _get_only(record.at_epoch(epoch).lengths) for name, record in parts.items()}
            for epoch in range(1, num_variants)
        ),
    )


def _get_only(values: Mapping[str, Any]) -> Any:
    """Return the only value of a mapping by stream, as the stores of parts have one stream."""
    (value,) = values.values()
    return value


def _build_fingerprint_parts(
    join: ClipJoin, records: Mapping[str, Sequence[ClipRecord]], streams: Sequence[str]
) -> dict[str, Any]:
    """Build the values that determine the content of a combined store.

    Args:
        join: Joined clips.
        records: Split → records of the combined store.
        streams: Selected streams.
    """
    return {
        "format": STORE_FORMAT,
        # In the order of the selection, which is that of the fusion.
        "combined": list(streams),
        "splits": [
            [
                split,
                compute_split_fingerprint(
                    [(strip_location(record.clip), record.key) for record in split_records]
                ),
            ]
            for split, split_records in records.items()
        ],
        "problems": compute_invalid_rows_fingerprint(list(join.dropped_rows)),
    }
