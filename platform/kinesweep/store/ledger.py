"""How often test was looked at: one dated line for each scoring, beside the store.

Whoever tries often and reports the best has chosen on test; the count shows it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from kinesweep.store.reader import Store


def note_test(store: Store, what: str, scores: Mapping[str, float]) -> None:
    """Adds a line: when, of which model, and its scores."""
    line = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "what": what, **scores}
    with _ledger(store).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def count_tests(store: Store) -> int:
    """Scorings of test so far, by anyone who used this store."""
    path = _ledger(store)
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def _ledger(store: Store) -> Path:
    return store.folder.with_suffix(".test.jsonl")
