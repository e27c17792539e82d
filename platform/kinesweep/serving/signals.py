"""Signals that end a server: Ctrl-C, `kill` and a closed terminal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a server; SIGHUP is that of a closed terminal."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a closed terminal and `kill` end the `with` block like Ctrl-C.

    Otherwise either would end the process during the start of the replicas, and leave them on a
    cluster that other programs use.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, interrupt) for number in END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def ignore_kill_signals() -> Iterator[None]:
    """Ignore `kill` and a closed terminal in the `with` block, which only Ctrl-C can cut short.

    A second signal while replicas are removed would otherwise leave them on a cluster.
    """
    handlers = {
        number: signal.signal(number, signal.SIG_IGN)
        for number in END_SIGNALS
        if number != signal.SIGINT
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
