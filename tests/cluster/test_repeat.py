"""Repetitions on a real cluster: cold and warm workers, one and two, end with the same bits."""

from pathlib import Path

import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.pipelines.reproducibility import ExecutionMode, repeat_training
from kinesweep.training.reproducibility.run_comparison import compare_runs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]


# Two workers in short: `test_train.py` new ones, `test_pool.py` those that others used before.
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.proof)])
def test_runs_are_one(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    recipe = tiny_recipe(tiny_corpus(tmp_path), tmp_path / "stores", resources={"workers": workers})
    tiny_store(recipe)
    places: tuple[ExecutionMode, ...] = ("cold", "warm")
    results = [
        result
        for place in places
        for result in repeat_training(recipe, 2, place, tmp_path / place, False).results
    ]
    assert len({result.weights_sha256 for result in results}) == 1 and results[0].weights_sha256
    assert compare_runs(results) == []
