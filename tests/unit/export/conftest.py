"""One finished run, and its bundle, for all tests of export."""

import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.core.runlog import NullRunLog
from kinesweep.export import export_bundle
from kinesweep.training.run import RunSpec, train_run

# Enough for texts that differ from clip to clip; good they are not.
STEPS = {"learning_rate": 5e-3, "lr_scheduler_type": "constant", "max_steps": 120, "eval_steps": 60}


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    corpus = tiny_corpus(folder)
    return tiny_recipe(corpus, folder / "stores", training=STEPS)


@pytest.fixture(scope="session")
def store(recipe):
    return tiny_store(recipe)


@pytest.fixture(scope="session")
def run(recipe, store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = train_run(RunSpec(recipe, store.folder, folder), NullRunLog(), lambda _: True)
    assert result.status == "finished"
    return folder


@pytest.fixture
def bundle(run, store, tmp_path):
    return export_bundle(run, tmp_path / "bundle", store)
