"""The web server: its socket, slow connections, and its end.

uvicorn waits without limit for the header of a request; here a connection that sends no complete
header in time is closed. A body that was refused is read and dropped for that long, so that its
client can read the reason instead of a broken connection.
"""

import asyncio
import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from math import ceil
from typing import Any, cast

import h11
import uvicorn
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from kinesweep.serving.errors import RequestError, ServingError
from kinesweep.serving.limits import ServeLimits
from kinesweep.serving.signals import END_SIGNALS

_HEADER_TIMEOUT_S = 15.0
_MAX_HEADER_BYTES = 32 * 1024
# A message of a WebSocket is held as a whole, unlike a body, which is counted as it arrives.
_MAX_MESSAGE_BYTES = 4 * 2**20
_KEEP_ALIVE_S = 10
# Connections beyond the requests in progress, such as those of probes and idle clients.
_EXTRA_CONNECTIONS = 256
_TOO_MANY_CONNECTIONS = RequestError(503, "busy", "too many connections are open; try again later")
# uvicorn's default. While a clip is translated no message is read, not even the answer to a ping.
_PING_TIMEOUT_S = 20


class TimedProtocol(H11Protocol):
    """An HTTP connection that is closed if no request begins in time.

    Attributes:
        header_timeout_s: Time from the first byte, or from the connection, to the end of the
            header. The rest of a refused body is dropped for as long.
    """

    header_timeout_s = _HEADER_TIMEOUT_S
    _header_timer: asyncio.TimerHandle | None = None
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request; refuse all of them if there are too many connections."""
        super().connection_made(transport)
        self._start_timer()
        limit, self.limit_concurrency = self.limit_concurrency, None
        # uvicorn's own answer would not have the form of our errors.
        if limit is not None and len(self.connections) > limit:
            self._is_refused, self.app = True, _refuse_connection

    def data_received(self, data: bytes) -> None:
        """Read data; outside of a request, within the limit of time."""
        if not self._is_in_request() and self._header_timer is None:
            self._start_timer()
        super().data_received(data)
        # After an upgrade, the WebSocket has another protocol with limits of its own.
        if self._is_in_request() or self.transport.get_protocol() is not self:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to a WebSocket, or close it if that is impossible."""
        if self._is_refused:
            self._refuse(_TOO_MANY_CONNECTIONS)
            return
        super().handle_websocket_upgrade(event)
        # `websockets` cannot read a request with a body, too many or too long headers. uvicorn then
        # neither answers nor closes the connection, which anybody could hold open without end.
        if not cast(WebSocketsSansIOProtocol, self.transport.get_protocol()).handshake_initiated:
            self.send_400_response(
                "The WebSocket request has a body, or headers that are too long."
            )

    def send_400_response(self, msg: str) -> None:
        """Answer data that is not HTTP, in the form of all errors."""
        self._refuse(RequestError(400, "malformed_http", msg))

    def _refuse(self, error: RequestError) -> None:
        """Answer with an error and close the connection, unless a response has begun."""
        # A response has begun, so another one would be read as a part of its body.
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()
            return
        body = json.dumps(error.to_json()).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(
                status_code=error.status,
                headers=headers,
                reason=HTTPStatus(error.status).phrase.encode(),
            ),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _is_in_request(self) -> bool:
        """Return whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _start_timer(self) -> None:
        """Close the connection later, unless a request has begun by then."""
        self._stop_timer()
        self._header_timer = self.loop.call_later(self.header_timeout_s, self._close_if_idle)

    def _stop_timer(self) -> None:
        """Do not close the connection."""
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _close_if_idle(self) -> None:
        """Close the connection if no request has begun."""
        self._header_timer = None
        if not self._is_in_request():
            self.transport.close()


async def _refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer all requests of a connection that is one too many (an ASGI application)."""
    error = _TOO_MANY_CONNECTIONS
    headers = {"retry-after": str(error.retry_after_s), "connection": "close"}
    await JSONResponse(error.to_json(), error.status, headers)(scope, receive, send)


class WebServer(uvicorn.Server):
    """A server that ends at the first Ctrl-C after its requests, at the second one at once.

    Args:
        config: Configuration of uvicorn.
        on_ready: Function that is called when the server accepts connections.
        on_stop: Function that is called when it begins to end.
    """

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_ready, self._on_stop = on_ready, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals in the `with` block; uvicorn would raise them again afterwards.

        The process has more to end than the web server.
        """
        loop = asyncio.get_running_loop()
        handlers = {number: signal.getsignal(number) for number in END_SIGNALS}
        for number in END_SIGNALS:
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                loop.remove_signal_handler(number)
                # asyncio leaves the default, by which a second signal would end the process before
                # it has removed its replicas from a cluster.
                signal.signal(number, handler)

    def _stop(self, number: int) -> None:
        """Begin to end, or end at once if that has begun already."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._on_stop()


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def open_socket(host: str, port: int) -> socket.socket:
    """Bind a socket for a server.

    Args:
        host: Host name or address to listen on.
        port: Port; 0: a free one.

    Raises:
        ServingError: If the address is in use or is none of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
    except OSError as error:
        raise ServingError(f"`--host {host}` is no address of this machine: {error}") from None
    # A server that was stopped a moment ago would otherwise block its port for a minute.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # At once, so that a second server on the port fails here and not after its start.
        listener.listen()
    except OSError as error:
        listener.close()
        raise ServingError(
            f"cannot listen on `{host}:{port}`: {error.strerror or error}; another server may be"
            " running there. Choose another `--port`, or 0 for a free one"
        ) from None
    return listener


def run_server(
    app: Any,
    listener: socket.socket,
    limits: ServeLimits,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None],
) -> None:
    """Run a server until Ctrl-C; requests in progress are answered first.

    Args:
        app: ASGI application.
        listener: Bound socket.
        limits: Limits of the server.
        on_ready: Function that is called when the server accepts connections.
        on_stop: Function that is called when it begins to end.
    """
    server = WebServer(build_config(app, limits), on_ready, on_stop)
    asyncio.run(server.serve(sockets=[listener]))


def build_config(app: Any, limits: ServeLimits) -> uvicorn.Config:
    """Build the configuration of the web server.

    Args:
        app: ASGI application.
        limits: Limits of the server.
    """
    return uvicorn.Config(
        app,
        http=TimedProtocol,
        # uvicorn's older `websockets` imports the library's deprecated `legacy` modules.
        ws="websockets-sansio",
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws_ping_timeout=_PING_TIMEOUT_S + limits.timeout_s,
        # Compressed messages could be much larger than they are on the wire.
        ws_per_message_deflate=False,
        loop="asyncio",
        # `service` starts and stops the replicas, not the application.
        lifespan="off",
        log_config=None,
        # Addresses can contain the token.
        access_log=False,
        server_header=False,
        # No client may claim another address or scheme by `X-Forwarded-For` and its like.
        proxy_headers=False,
        limit_concurrency=limits.max_requests + _EXTRA_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        # Rounded up: 0 would cut off requests in progress at once.
        timeout_graceful_shutdown=ceil(limits.timeout_s),
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
    )
