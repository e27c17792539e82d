"""What every test process does."""

import gc
import subprocess
from types import SimpleNamespace

import pytest
from xdist.scheduler import LoadScopeScheduling

from fresh_process import run_forked


class SharedFixtures(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps tests in one process of several that share what is slow to make.

    A file's tests share its fixtures; all of `tests/browser` one Chromium, server and sweep.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "browser" if "browser/" in file else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SharedFixtures:
    """Schedule by shared fixtures wherever tests run in several processes."""
    return SharedFixtures(config, log)


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
