"""Ctrl-C ends a sweep, also one that somebody's callback has swallowed."""

import signal
from contextlib import suppress

import pytest

from kinesweep.sweeps.workers.tune_runner import _Ends


def test_a_swallowed_interrupt_is_raised_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    ends = _Ends(policy=None, all_started=lambda: None)  # type: ignore[arg-type]
    ends.check_interrupt()
    with ends.interrupts():
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            ends.check_interrupt()
    assert signal.getsignal(signal.SIGINT) is before
