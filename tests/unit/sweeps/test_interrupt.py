"""Ctrl-C ends a sweep, also one that somebody's callback has swallowed."""

import signal
from contextlib import suppress

import pytest

from kinesweep.sweeps.workers.tune_components import TrialRegistry


def test_a_swallowed_interrupt_is_raised_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    ends = TrialRegistry(policy=None, on_all_started=lambda: None)  # type: ignore[arg-type]
    ends.raise_if_interrupted()
    with ends.catch_interrupts():
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            ends.raise_if_interrupted()
    assert signal.getsignal(signal.SIGINT) is before
