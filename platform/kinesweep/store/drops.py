"""Clips that are left out: counted by reason, named by row, and fatal above a stated share.

Of splits that must be complete none may be missing: a score over fewer clips is no longer that of
the split. Rows of a table that say nothing to learn from are no clips; they count for the share.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kinesweep.core.clip import RowProblem
from kinesweep.core.errors import StoreError

_SHOWN = 5
"""Rows that an error shows; all of them stand in the manifest of a store that is written."""


def check_dropped(problems: Sequence[RowProblem], num_rows: int, max_share: float) -> None:
    """Refuses a corpus of which too much cannot be used.

    Args:
        problems: the rows that are left out.
        num_rows: rows in all, these included.
        max_share: `store.max_dropped_share`.

    Raises:
        StoreError: with the count of each reason and the first rows.
    """
    share = len(problems) / max(num_rows, 1)
    if share <= max_share:
        return
    raise StoreError(
        f"{len(problems)} of {num_rows} clips ({share:.1%}) cannot be used; at most"
        f" `store.max_dropped_share` ({max_share:g}) may be left out\n{list_problems(problems)}\n"
        f"Mend the rows (`kinesweep check` lists all), or allow more with"
        f" store.max_dropped_share={_rounded_up(share)}."
    )


def check_complete(problems: Sequence[RowProblem], complete: Collection[str]) -> None:
    """Refuses a corpus whose scored clips are not all there.

    Args:
        problems: the rows that are left out.
        complete: `store.complete`.

    Raises:
        StoreError: with the first of the clips, and why they cannot be used.
    """
    lost = [problem for problem in problems if problem.split in complete]
    if not lost:
        return
    splits = dict.fromkeys(problem.split for problem in lost)
    counts = ", ".join(f"{sum(p.split == split for p in lost)} of {split}" for split in splits)
    raise StoreError(
        f"clips that cannot be used: {counts}; `store.complete` ({', '.join(complete)}) says that"
        f" none may be left out\n{list_problems(lost)}\n"
        "Mend the files (`kinesweep check` lists all), take the rows out of the table, or score"
        " fewer clips with store.complete=[]."
    )


def check_splits(kept: Mapping[str, int], problems: Sequence[RowProblem]) -> None:
    """Refuses a corpus with an empty split.

    Args:
        kept: split → clips that can be used.
        problems: the rows that are left out.

    Raises:
        StoreError: names the empty splits and why their clips were left out.
    """
    empty = [split for split, clips in kept.items() if not clips]
    if empty:
        why = f"; rows left out:\n{list_problems(problems)}" if problems else ""
        raise StoreError(f"no usable clip in split {', '.join(empty)}{why}")


def list_problems(problems: Sequence[RowProblem]) -> str:
    """Counts by reason, then the first rows, indented."""
    counts = count_reasons(problems)
    width = max(len(reason) for reason in counts)
    lines = [f"  {reason:<{width}}  {count}" for reason, count in counts.items()]
    lines += [f"  {item.row}: {item.reason}: {item.message}" for item in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  and {len(problems) - _SHOWN} more")
    return "\n".join(lines)


def count_reasons(problems: Sequence[RowProblem]) -> dict[str, int]:
    """Reason → rows, the most frequent first."""
    return dict(Counter(problem.reason for problem in sorted(problems, key=_reason)).most_common())


def as_manifest(problems: Sequence[RowProblem]) -> dict[str, Any]:
    """What a manifest says of the rows that were left out."""
    rows = [asdict(problem) for problem in problems]
    return {"total": len(rows), "reasons": count_reasons(problems), "rows": rows}


def _reason(problem: RowProblem) -> str:
    return problem.reason


def _rounded_up(share: float) -> float:
    """The share in steps of 0.01, never below it."""
    return min(1.0, math.ceil(share * 100) / 100)
