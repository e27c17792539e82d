"""Signals while a server ends: its replicas are removed, whatever comes meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from kinesweep.serving.http.server import WebServer
from kinesweep.serving.signals import END_SIGNALS, ended_by_signals, ignore_kill_signals


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing; no request comes."""


@pytest.fixture(autouse=True)
def _interrupts_raise() -> Iterator[None]:
    """A process that a shell starts in the background ignores SIGINT, and Python leaves it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_kill_does_not_cut_off_the_removal_of_replicas() -> None:
    before = [signal.getsignal(number) for number in END_SIGNALS]
    with ignore_kill_signals():
        for number in (signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
    assert [signal.getsignal(number) for number in END_SIGNALS] == before


def test_the_end_of_the_web_server_is_not_that_of_the_handlers() -> None:
    """Replicas are removed after it, which a second signal must not cut off without a trace."""

    async def send_signal() -> None:
        with server.capture_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)

    stops: list[int] = []
    server = WebServer(uvicorn.Config(hello), lambda: None, lambda: stops.append(1))
    before = [signal.getsignal(number) for number in END_SIGNALS]
    with ended_by_signals():
        inside = [signal.getsignal(number) for number in END_SIGNALS]
        asyncio.run(send_signal())
        assert [signal.getsignal(number) for number in END_SIGNALS] == inside != before
    assert server.should_exit and stops == [1]
    assert [signal.getsignal(number) for number in END_SIGNALS] == before
