"""What every test process does."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def frozen_imports() -> None:
    """Exempt what lives before a module's tests from garbage collection.

    The Trainer collects garbage at the end of each run. Among the objects of torch, transformers
    and of pytest's collection that took a third of a tiny run's time.
    """
    gc.collect()
    gc.freeze()
