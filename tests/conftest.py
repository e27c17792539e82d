"""Slow tests have a time until which they begin; later ones are left out, each by its name."""

import os
import time

import pytest

UNTIL_S = float(os.environ.get("KINESWEEP_SLOW_UNTIL", "inf"))
"""Since the epoch. Not set outside CI, which is ended from outside when it takes too long."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before anything is made for the test."""
    if time.time() > UNTIL_S and item.get_closest_marker("slow") is not None:
        pytest.skip(f"no time was left for {item.nodeid}")
