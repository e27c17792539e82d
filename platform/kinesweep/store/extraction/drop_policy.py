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


def check_dropped_share(problems: Sequence[InvalidRow], num_rows: int, max_share: float) -> None:
    """Raise an error if too large a share of a corpus cannot be used.

    Args:
        problems: Dropped rows.
        num_rows: Total number of rows, dropped ones included.
        max_share: Largest allowed share of dropped rows (`store.max_dropped_share`).

    Raises:
        StoreError: If the share is exceeded; the message shows the count of each reason and the
            first rows.
    """
    share = len(problems) / max(num_rows, 1)
    if share <= max_share:
        return
    raise StoreError(
        f"{len(problems)} of {num_rows} clips ({share:.1%}) cannot be used; at most"
        f" `store.max_dropped_share` ({max_share:g}) may be left"
        f" out\n{format_invalid_rows(problems)}\n"
        f"Fix the rows (`kinesweep check` lists all), or allow more with"
        f" store.max_dropped_share={_round_up_share(share)}."
    )


def check_required_splits(problems: Sequence[InvalidRow], required_splits: Collection[str]) -> None:
    """Raise an error if a split that must be complete has unusable clips.

    Args:
        problems: Dropped rows.
        required_splits: Names of the splits that must be complete (`store.required_splits`).

    Raises:
        StoreError: If such a split lost clips; the message shows the first of them with the
            reasons.
    """
    unusable_rows = [problem for problem in problems if problem.split in required_splits]
    if not unusable_rows:
        return
    splits = dict.fromkeys(problem.split for problem in unusable_rows)
    counts = ", ".join(
        f"{sum(p.split == split for p in unusable_rows)} of {split}" for split in splits
    )
    raise StoreError(
        f"unusable clips: {counts}; `store.required_splits` ({', '.join(required_splits)}) does not"
        f" allow these splits to lose any\n{format_invalid_rows(unusable_rows)}\n"
        "Fix the files (`kinesweep check` lists all), remove the rows from the table, or score"
        " fewer clips with store.required_splits=[]."
    )


def check_splits_not_empty(clip_counts: Mapping[str, int], problems: Sequence[InvalidRow]) -> None:
    """Raise an error if a split is empty.

    Args:
        clip_counts: Split → number of usable clips.
        problems: Dropped rows.

    Raises:
        StoreError: If a split has no usable clip; the message names the split and lists the dropped
            rows.
    """
    empty = [split for split, clips in clip_counts.items() if not clips]
    if empty:
        details = f"; rows left out:\n{format_invalid_rows(problems)}" if problems else ""
        raise StoreError(f"no usable clip in split {', '.join(empty)}{details}")


def format_invalid_rows(problems: Sequence[InvalidRow]) -> str:
    """Format the counts by reason and the first rows as indented lines of text."""
    counts = count_drop_reasons(problems)
    width = max(len(reason) for reason in counts)
    lines = [f"  {reason:<{width}}  {count}" for reason, count in counts.items()]
    lines += [f"  {item.row}: {item.reason}: {item.message}" for item in problems[:_MAX_SHOWN_ROWS]]
    if len(problems) > _MAX_SHOWN_ROWS:
        lines.append(f"  and {len(problems) - _MAX_SHOWN_ROWS} more")
    return "\n".join(lines)


def count_drop_reasons(problems: Sequence[InvalidRow]) -> dict[str, int]:
    """Count the dropped rows by reason; the most frequent reason comes first."""
    # `most_common` keeps the insertion order of equal counts; sorting first makes the order of the
    # reasons independent of the order of the rows.
    return dict(
        Counter(problem.reason for problem in sorted(problems, key=_get_reason)).most_common()
    )


def build_dropped_section(problems: Sequence[InvalidRow]) -> dict[str, Any]:
    """Build the `dropped` section of the manifest: total, counts by reason, and rows."""
    rows = [asdict(problem) for problem in problems]
    return {"total": len(rows), "reasons": count_drop_reasons(problems), "rows": rows}


def _get_reason(problem: InvalidRow) -> str:
    """Return the reason of a dropped row, for sorting."""
    return problem.reason


def _round_up_share(share: float) -> float:
    """Round a share up to a multiple of 0.01."""
    # Rounding up makes the suggested setting sufficient when it is copied from the error.
    return min(1.0, math.ceil(share * 100) / 100)
