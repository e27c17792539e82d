"""Every look at test is counted, whoever looks."""

import shutil
from pathlib import Path

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.store import open_store
from kinesweep.store.format.test_set_ledger import count_test_evaluations, log_test_evaluation


def test_scorings_are_counted_beside_the_store(tmp_path: Path) -> None:
    store = tiny_store(tiny_recipe(tiny_corpus(tmp_path, clips=12), tmp_path / "stores"))
    assert count_test_evaluations(store) == 0
    for number in range(3):
        log_test_evaluation(store, f"run {number}", {"bleu": 1.0})
    assert count_test_evaluations(open_store(store.folder)) == 3
    assert not list(store.folder.rglob("*.test.jsonl"))


def test_stores_whose_names_have_dots_have_ledgers_of_their_own(tmp_path: Path) -> None:
    store = tiny_store(tiny_recipe(tiny_corpus(tmp_path, clips=12), tmp_path / "stores"))
    first, second = (store.folder.rename(store.folder.with_name("x.v1")), tmp_path / "stores/x.v2")
    shutil.copytree(first, second)
    log_test_evaluation(open_store(first), "run", {"bleu": 1.0})
    assert [count_test_evaluations(open_store(path)) for path in (first, second)] == [1, 0]
