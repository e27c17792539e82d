"""One finished run, and its bundle, for all tests of export."""

import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import export_bundle
from kinesweep.training.loop.run import RunSpec, train_run
from once import made_once

# Enough for texts that differ from clip to clip; good they are not.
STEPS = {
    "learning_rate": 5e-3,
    "lr_scheduler_type": "constant",
    "max_steps": 120,
    "eval_steps": 60,
}


def _recipe(folder):
    return tiny_recipe(folder / "corpus", folder / "stores", training=STEPS)


def _train(folder):
    tiny_corpus(folder)
    recipe = _recipe(folder)
    spec = RunSpec(recipe, tiny_store(recipe).folder, folder / "run")
    assert train_run(spec, NullRunLogger(), lambda _: True).status == "finished"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return made_once(tmp_path_factory, "export", _train)


@pytest.fixture(scope="session")
def recipe(made):
    return _recipe(made)


@pytest.fixture(scope="session")
def store(recipe):
    return tiny_store(recipe)  # it is there already


@pytest.fixture(scope="session")
def run(made):
    return made / "run"


@pytest.fixture
def bundle(run, store, tmp_path):
    return export_bundle(run, tmp_path / "bundle", store)
