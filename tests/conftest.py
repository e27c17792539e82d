"""What every test process does."""

import gc
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from fresh_process import run_forked

_TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests in one process of several that share what is slow to make.

    A file's tests share its fixtures; all of `tests/browser` one Chromium, server and sweep.
    """
    for item in items:
        place = item.path.relative_to(_TESTS)
        group = "browser" if place.parts[0] == "browser" else str(place)
        item.add_marker(pytest.mark.xdist_group(group))


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
