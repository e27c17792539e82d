"""One tiny corpus for all tests of training and evaluation; made only where a test asks for it."""

from pathlib import Path

import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.result import RunResult
from tolerances import float64  # noqa: F401


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_corpus(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="session")
def recipe(corpus: Path) -> Recipe:
    return tiny_recipe(corpus, corpus.parent / "stores")


@pytest.fixture(scope="session")
def store(recipe: Recipe) -> Store:
    return tiny_store(recipe)


@pytest.fixture(scope="session")
def whole(recipe: Recipe, store: Store, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run of the tiny recipe from its beginning to its end, to be compared with."""
    spec = RunSpec(recipe, store.folder, tmp_path_factory.mktemp("whole") / "run")
    return train_run(spec, NullRunLogger(), lambda _: True)
