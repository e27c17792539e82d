"""A server of a bundle in this process, without Ray: the real routes, page and inference."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from kinesweep.export import Bundle
from kinesweep.serving.accepted_inputs import AcceptedInputs
from kinesweep.serving.clip_request import ClipRequest
from kinesweep.serving.errors import RequestError
from kinesweep.serving.http.app import build_app
from kinesweep.serving.http.metrics import ServeMetrics
from kinesweep.serving.http.served_bundle import ServedBundle
from kinesweep.serving.http.server import TimedProtocol
from kinesweep.serving.inference.clip_translator import ClipTranslator
from kinesweep.serving.limits import RequestGate, ServeLimits
from kinesweep.serving.replica import describe_batch

TOKEN = "a-token-of-the-tests"


class Local:
    """Translates in this process, one clip at a time."""

    def __init__(self, translator: ClipTranslator) -> None:
        self.translator = translator

    async def translate(self, request: ClipRequest) -> dict[str, Any]:
        results = await asyncio.to_thread(self.translator.translate, [request])
        (result,) = describe_batch(results, 0.0)
        if isinstance(result, RequestError):
            raise result
        return result


async def ready() -> bool:
    return True


def make_served(
    inputs: AcceptedInputs, translator: Any, limits: ServeLimits = ServeLimits()
) -> ServedBundle:
    """What the routes use."""
    return ServedBundle(
        inputs, limits, RequestGate(limits), ServeMetrics(), translator, ready, {"replicas": 1}
    )


@contextmanager
def serving(
    app: Any, header_timeout_s: float = 15.0, max_connections: int | None = None
) -> Iterator[str]:
    """Run an application in a thread and yield its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = type("Protocol", (TimedProtocol,), {"header_timeout_s": header_timeout_s})
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            access_log=False,
            limit_concurrency=max_connections,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@contextmanager
def serving_bundle(folder: Path, limits: ServeLimits = ServeLimits()) -> Iterator[str]:
    """Serve a bundle in a thread and yield its address."""
    translator = Local(ClipTranslator(Bundle.load(folder), limits))
    served = make_served(AcceptedInputs.read(folder), translator, limits)
    with serving(build_app(served, TOKEN)) as address:
        yield address
