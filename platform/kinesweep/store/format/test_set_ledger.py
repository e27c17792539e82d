"""The test-set ledger: a JSON Lines file beside a store with one line per evaluation on test.

Evaluating often and reporting the best result amounts to selecting on test; the count reveals it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from kinesweep.store.format.reader import Store


def log_test_evaluation(store: Store, evaluated_model: str, scores: Mapping[str, float]) -> None:
    """Append an evaluation on the test split to the ledger: its UTC time, model and scores.

    Args:
        store: Store that contains the test split.
        evaluated_model: Evaluated model, for example its folder.
        scores: Metric → score.
    """
    entry = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "what": evaluated_model,
        **scores,
    }
    # Append mode: concurrent evaluations do not overwrite each other's lines.
    with _get_ledger_path(store).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def count_test_evaluations(store: Store) -> int:
    """Return the number of evaluations on the test split that the ledger of a store contains."""
    path = _get_ledger_path(store)
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def _get_ledger_path(store: Store) -> Path:
    """Return the path of a store's ledger: that of its folder, followed by `.test.jsonl`."""
    # Beside the store rather than in it: a finished store is immutable. Not `with_suffix`, which
    # would give the stores `x.v1` and `x.v2` one ledger.
    return store.folder.with_name(f"{store.folder.name}.test.jsonl")
