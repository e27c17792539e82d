"""What every test process does."""

import gc
import subprocess
from types import SimpleNamespace

import pytest

from fresh_process import run_forked


@pytest.fixture(scope="module", autouse=True)
def frozen_imports() -> None:
    """Exempt what lives before a module's tests from garbage collection.

    The Trainer collects garbage at the end of each run. Among the objects of torch, transformers
    and of pytest's collection that took a third of a tiny run's time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def forked_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify bundles in processes that need not import everything.

    `test_translate.py` verifies one in a new interpreter.
    """
    forked = SimpleNamespace(run=run_forked, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr("kinesweep.export.verify.subprocess", forked)
