"""The web application: its routes, and one form of errors for all of them.

`POST /translate` takes a clip; `/stream` takes frames over a WebSocket; `/info`, `/health`,
`/ready` and `/metrics` describe the server; `/` is the page.
"""

import logging
import time
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from kinesweep.serving.clip_request import RequestOptions
from kinesweep.serving.errors import RequestError
from kinesweep.serving.http.auth import TokenMiddleware
from kinesweep.serving.http.body import read_clip_request
from kinesweep.serving.http.metrics import METRICS_CONTENT_TYPE
from kinesweep.serving.http.served_bundle import ServedBundle
from kinesweep.serving.http.stream import serve_stream
from kinesweep.version import __version__

logger = logging.getLogger(__name__)

_PAGE_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
_STATUS_ERRORS = {404: "not_found", 405: "method_not_allowed"}


def build_app(served: ServedBundle, token: str | None, cookie: str = "kinesweep") -> Any:
    """Build the ASGI application of a server.

    Args:
        served: Inputs, limits and metrics of the server.
        token: Token of the server; None: no token is needed.
        cookie: Name of the cookie of the page.
    """
    routes = _Routes(served)
    app = Starlette(
        routes=[
            Route("/translate", routes.translate, methods=["POST"]),
            Route("/info", routes.get_info),
            Route("/health", routes.get_health),
            Route("/ready", routes.get_readiness),
            Route("/metrics", routes.get_metrics),
            *(Route(path, routes.get_page_file) for path in _PAGE_FILES),
            WebSocketRoute("/stream", routes.stream),
        ],
        exception_handlers={
            RequestError: routes.answer_error,
            HTTPException: routes.answer_http_error,
            Exception: routes.answer_bug,
        },
    )
    # A redirect would lead to whatever host the request named.
    app.router.redirect_slashes = False
    # Outermost, so that clients without the token learn nothing from errors and unknown paths.
    return TokenMiddleware(app, token, cookie)


class _Routes:
    """The routes of a server.

    Args:
        served: Inputs, limits and metrics of the server.
    """

    def __init__(self, served: ServedBundle) -> None:
        self._served = served
        folder = resources.files("kinesweep.serving") / "page"
        self._page_files = {
            path: ((folder / name).read_bytes(), media_type)
            for path, (name, media_type) in _PAGE_FILES.items()
        }

    async def translate(self, request: Request) -> Response:
        """Translate the clip of a request."""
        served, started_s = self._served, time.monotonic()
        # Remains if a bug ends the request, which another handler answers.
        status = 500
        try:
            # Before the body is read, so that a refused request costs no memory.
            with served.gate.admit() as counter:
                clip = await read_clip_request(
                    request, served.inputs, served.limits, served.gate, counter
                )
                result = await served.translator.translate(clip)
            served.metrics.count_batch(result["batch"])
            status = 200
            return JSONResponse(result)
        except RequestError as error:
            status = error.status
            raise
        finally:
            served.metrics.count_request("translate", status, time.monotonic() - started_s)

    async def stream(self, socket: WebSocket) -> None:
        """Translate frames that arrive over a WebSocket."""
        started_s = time.monotonic()
        status = await serve_stream(socket, self._served)
        self._served.metrics.count_request("stream", status, time.monotonic() - started_s)

    async def get_info(self, _: Request) -> Response:
        """Describe the bundle, its inputs and the limits."""
        limits = self._served.limits
        return JSONResponse(
            {
                "version": __version__,
                **self._served.inputs.describe(),
                **self._served.identity,
                "limits": {
                    "max_body_bytes": limits.max_body_bytes,
                    "body_timeout_s": limits.body_timeout_s,
                    "timeout_s": limits.timeout_s,
                    "max_requests": limits.max_requests,
                    "max_duration_s": limits.max_duration_s,
                    "max_batch_size": limits.max_batch_size,
                    "batch_wait_s": limits.batch_wait_s,
                },
                "options": {
                    name: field.description for name, field in RequestOptions.model_fields.items()
                },
            }
        )

    async def get_health(self, _: Request) -> Response:
        """Answer that the server runs."""
        return JSONResponse({"status": "ok"})

    async def get_readiness(self, _: Request) -> Response:
        """Answer whether the server accepts clips."""
        if self._served.gate.is_draining:
            raise RequestError(503, "shutting_down", "the server is shutting down")
        if not await self._served.is_ready():
            raise RequestError(503, "no_replica", "no replica is running yet; try again later")
        return JSONResponse({"status": "ready"})

    async def get_metrics(self, _: Request) -> Response:
        """Return the metrics for Prometheus."""
        metrics = self._served.metrics
        # Read when it is asked for, so that it covers WebSockets and refused requests alike.
        metrics.set_in_progress(self._served.gate.num_requests)
        return Response(metrics.render(), media_type=METRICS_CONTENT_TYPE)

    async def get_page_file(self, request: Request) -> Response:
        """Return a file of the page."""
        content, media_type = self._page_files[request.url.path]
        return Response(content, media_type=media_type)

    async def answer_error(self, _: Request, error: Exception) -> Response:
        """Answer a refused request."""
        assert isinstance(error, RequestError)
        self._served.metrics.count_error(error.error)
        after_s = error.retry_after_s
        headers = {} if after_s is None else {"retry-after": str(after_s)}
        return JSONResponse(error.to_json(), error.status, headers)

    async def answer_http_error(self, request: Request, error: Exception) -> Response:
        """Answer a request for an unknown path, or with a method that it does not have."""
        assert isinstance(error, HTTPException)
        key = _STATUS_ERRORS.get(error.status_code, "invalid_request")
        reason = f"{request.method} {request.url.path}: {error.detail}"
        return await self.answer_error(request, RequestError(error.status_code, key, reason))

    async def answer_bug(self, request: Request, error: Exception) -> Response:
        """Answer a request that met a bug, without its traceback."""
        logger.error("a request met an unexpected error", exc_info=error)
        return await self.answer_error(
            request, RequestError(500, "internal", "unexpected error; see the server's log")
        )
