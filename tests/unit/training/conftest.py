"""One tiny corpus for all tests of training."""

from pathlib import Path

import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.core.recipe import Recipe
from kinesweep.store import Store
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
