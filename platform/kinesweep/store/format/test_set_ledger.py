"""The test-set ledger: one dated line beside the store for each evaluation on test.

Evaluating often and reporting the best result amounts to selecting on test; the count reveals it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from kinesweep.store.format.reader import Store


def note_test(store: Store, what: str, scores: Mapping[str, float]) -> None:
    """Append a line with the time, the evaluated model and its scores.

    Args:
        store: Store that contains the test split.
        what: Evaluated model, for example its folder.
        scores: Metric → score.
    """
    line = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "what": what, **scores}
    # Append mode: concurrent evaluations do not overwrite each other's lines.
    with _ledger(store).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def count_tests(store: Store) -> int:
    """Return the number of evaluations on test so far, by all users of this store."""
    path = _ledger(store)
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def _ledger(store: Store) -> Path:
    """Return the path of the ledger."""
    # Beside the store rather than in it: a finished store is immutable.
    return store.folder.with_suffix(".test.jsonl")
