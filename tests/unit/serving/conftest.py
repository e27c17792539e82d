"""A bundle for all tests of serving, made once; nobody changes it."""

from pathlib import Path

import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import export_bundle
from kinesweep.training.loop.run import RunSpec, train_run
from once import made_once

# Enough for texts that differ from clip to clip.
STEPS = {"learning_rate": 5e-3, "lr_scheduler_type": "constant", "max_steps": 120, "eval_steps": 60}


def _make(folder: Path) -> None:
    corpus = tiny_corpus(folder)
    recipe = tiny_recipe(corpus, folder / "stores", training=STEPS)
    store = tiny_store(recipe)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    export_bundle(folder / "run", folder / "bundle", store)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "serving", _make)


@pytest.fixture(scope="session")
def bundle_dir(made: Path) -> Path:
    return made / "bundle"


@pytest.fixture(scope="session")
def poses(made: Path) -> list[Path]:
    return sorted((made / "corpus").rglob("*.pose"))[:12]
