"""Limits on dropped clips: counted by reason, listed by row, and fatal above a configured share.

Splits that must be complete (`store.required_splits`) may not lose any clip, because a score over
fewer clips is no longer the score of that split. Table rows without usable content belong to no
split and count only towards the share.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kinesweep.core.clip import InvalidRow
from kinesweep.core.errors import StoreError

_MAX_SHOWN_ROWS = 5
"""Largest number of rows in an error message; the manifest of a finished store lists all."""
_ROWS_FOLLOW = "; rows left out:"
"""End of a first line after which the dropped rows follow."""


def check_dropped_share(
    dropped_rows: Sequence[InvalidRow], num_rows: int, max_share: float
) -> None:
    """Raise an error if too large a share of a corpus cannot be used.

    Args:
        dropped_rows: Dropped rows.
        num_rows: Total number of rows, dropped ones included.
        max_share: Largest allowed share of dropped rows (`store.max_dropped_share`).

    Raises:
        StoreError: If the share is exceeded; the message shows the count of each reason and the
            first rows.
    """
    share = len(dropped_rows) / max(num_rows, 1)
    if share <= max_share:
        return
    raise StoreError(
        f"{len(dropped_rows)} of {num_rows} clips ({share:.1%}) cannot be used; at most"
        f" `store.max_dropped_share` ({max_share:g}) may be left"
        f" out\n{format_dropped_rows(dropped_rows)}\n"
        f"Fix the rows (`kinesweep check` lists all), or allow more with"
        f" store.max_dropped_share={_round_up_share(share)}."
    )


def check_required_splits(
    dropped_rows: Sequence[InvalidRow], required_splits: Collection[str]
) -> None:
    """Raise an error if a split that must be complete has unusable clips.

    Args:
        dropped_rows: Dropped rows.
        required_splits: Names of the splits that must be complete (`store.required_splits`).

    Raises:
        StoreError: If such a split lost clips; the message shows the first of them with the
            reasons.
    """
    unusable_rows = [row for row in dropped_rows if row.split in required_splits]
    if not unusable_rows:
        return
    splits = dict.fromkeys(row.split for row in unusable_rows)
    counts = ", ".join(
        f"{sum(row.split == split for row in unusable_rows)} of {split}" for split in splits
    )
    raise StoreError(
        f"unusable clips: {counts}; `store.required_splits` ({', '.join(required_splits)}) does not"
        f" allow these splits to lose any\n{format_dropped_rows(unusable_rows)}\n"
        "Fix the files (`kinesweep check` lists all), remove the rows from the table, or score"
        " fewer clips with store.required_splits=[]."
    )


def check_splits_not_empty(
    clip_counts: Mapping[str, int], dropped_rows: Sequence[InvalidRow]
) -> None:
    """Raise an error if a split has no usable clip.

    Args:
        clip_counts: Split → number of usable clips.
        dropped_rows: Dropped rows.

    Raises:
        StoreError: If a split has no usable clip; the message names the split and lists the dropped
            rows.
    """
    empty_splits = [split for split, num_clips in clip_counts.items() if not num_clips]
    if empty_splits:
        details = f"{_ROWS_FOLLOW}\n{format_dropped_rows(dropped_rows)}" if dropped_rows else ""
        raise StoreError(f"no usable clip in split {', '.join(empty_splits)}{details}")


def find_policy_violations(
    dropped_rows: Sequence[InvalidRow],
    clip_counts: Mapping[str, int],
    max_share: float,
    required_splits: Collection[str],
) -> list[str]:
    """Find every reason why an extraction with these dropped rows would be refused.

    Args:
        dropped_rows: Dropped rows.
        clip_counts: Split → number of usable clips.
        max_share: Largest allowed share of dropped rows (`store.max_dropped_share`).
        required_splits: Names of the splits that must be complete (`store.required_splits`).

    Returns:
        First line of the message of each error that an extraction could raise.
    """
    num_rows = sum(clip_counts.values()) + len(dropped_rows)
    checks = (
        lambda: check_required_splits(dropped_rows, required_splits),
        lambda: check_dropped_share(dropped_rows, num_rows, max_share),
        lambda: check_splits_not_empty(clip_counts, dropped_rows),
    )
    violations = []
    for check in checks:
        try:
            check()
        except StoreError as error:
            # The rows that follow are those that the caller has anyway.
            violations.append(str(error).partition("\n")[0].removesuffix(_ROWS_FOLLOW))
    return violations


def format_dropped_rows(dropped_rows: Sequence[InvalidRow]) -> str:
    """Format dropped rows as indented lines of text: the counts by reason, and the first five rows.

    Args:
        dropped_rows: Dropped rows, at least one.
    """
    counts = count_drop_reasons(dropped_rows)
    width = max(len(reason) for reason in counts)
    lines = [f"  {reason:<{width}}  {count}" for reason, count in counts.items()]
    lines += [f"  {row.row}: {row.reason}: {row.message}" for row in dropped_rows[:_MAX_SHOWN_ROWS]]
    if len(dropped_rows) > _MAX_SHOWN_ROWS:
        lines.append(f"  and {len(dropped_rows) - _MAX_SHOWN_ROWS} more")
    return "\n".join(lines)


def count_drop_reasons(dropped_rows: Sequence[InvalidRow]) -> dict[str, int]:
    """Count the dropped rows by reason.

    Returns:
        Reason → number of rows, the most frequent reason first; equally frequent reasons are in
        alphabetical order.
    """
    # `most_common` keeps the insertion order of equal counts; sorting first makes the order of the
    # reasons independent of the order of the rows.
    return dict(Counter(row.reason for row in sorted(dropped_rows, key=_get_reason)).most_common())


def build_dropped_section(dropped_rows: Sequence[InvalidRow]) -> dict[str, Any]:
    """Build the `dropped` section of a store's manifest: total, counts by reason, and all rows."""
    rows = [asdict(row) for row in dropped_rows]
    return {"total": len(rows), "reasons": count_drop_reasons(dropped_rows), "rows": rows}


def _get_reason(row: InvalidRow) -> str:
    """Return the reason why a row was dropped, for sorting."""
    return row.reason


def _round_up_share(share: float) -> float:
    """Round a share up to a multiple of 0.01, at most 1."""
    # Rounding up makes the suggested setting sufficient when it is copied from the error.
    return min(1.0, math.ceil(share * 100) / 100)
