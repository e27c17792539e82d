"""Authentication by a token, and headers that protect the page.

Programs send `Authorization: Bearer TOKEN`. The page is opened once with `?token=…`, which sets a
cookie that scripts cannot read and other sites cannot use, and leaves the token out of the address.
"""

import hmac
import secrets
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kinesweep.serving.errors import RequestError, ServingError
from kinesweep.serving.http.server import is_loopback

MIN_TOKEN_CHARS = 16
# 192 random bits, far beyond any guessing.
_TOKEN_BYTES = 24
_MAX_TOKEN_BYTES = 4096
# Probes of a cluster send no token.
_OPEN_PATHS = ("/health", "/ready")
_SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src 'self' data:; media-src 'self' blob:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def read_token(path: Path | None) -> str:
    """Read the token of a server from a file, or make a random one.

    Args:
        path: File with the token alone; None: a new random token.

    Raises:
        ServingError: If the file cannot be read, or its token is short or not printable ASCII.
    """
    if path is None:
        return secrets.token_urlsafe(_TOKEN_BYTES)
    try:
        # Limited, because the path may be that of a device or of a huge file by mistake.
        with path.open("rb") as file:
            token = file.read(_MAX_TOKEN_BYTES + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(f"`--token-file {path}` cannot be read: {error}") from None
    if not MIN_TOKEN_CHARS <= len(token) <= _MAX_TOKEN_BYTES or not token.isprintable():
        raise ServingError(
            f"`--token-file {path}` must contain one token of {MIN_TOKEN_CHARS} to"
            f" {_MAX_TOKEN_BYTES} printable ASCII characters, but has {len(token)};"
            " `openssl rand -hex 32` makes one"
        )
    if any(character.isspace() or character in ';,"\\' for character in token):
        raise ServingError(f"`--token-file {path}` must contain no spaces, quotes or separators")
    return token


class TokenMiddleware:
    """An ASGI middleware that lets requests with the token pass and sets the security headers.

    Args:
        app: Application that is protected.
        token: Token of the server; None: every request passes.
        cookie: Name of the cookie, which must differ between servers of one host.
    """

    def __init__(self, app: ASGIApp, token: str | None, cookie: str) -> None:
        self._app, self._token, self._cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        protected_send = _add_security_headers(send)
        refusal = self._find_refusal(scope)
        if refusal is not None:
            await self._refuse(scope, refusal, receive, protected_send)
        elif scope["type"] == "http" and scope["path"] == "/" and self._has_query_token(scope):
            # Without `secure`: on loopback there is no TLS, and browsers would drop the cookie.
            response = RedirectResponse(".", status_code=303)
            response.set_cookie(
                self._cookie, self._token or "", httponly=True, samesite="strict", path="/"
            )
            await response(scope, receive, protected_send)
        else:
            await self._app(scope, receive, protected_send)

    def _find_refusal(self, scope: Scope) -> RequestError | None:
        """Return the reason for which a request is refused; None if it may pass."""
        headers = Headers(scope=scope)
        foreign_origin = RequestError(403, "foreign_origin", "the request comes from another site")
        if _is_cross_site(headers):
            return foreign_origin
        if scope["path"] in _OPEN_PATHS:
            return None
        if self._token is None:
            # A site could let its own name point to this machine (DNS rebinding); its pages would
            # then have the same origin as the server.
            return None if is_loopback(_get_host_name(headers)) else foreign_origin
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(bearer.strip()):
            return None
        # Browsers set no headers for a page or a WebSocket. Anywhere else, a token in an address
        # would only end up in logs and histories.
        may_use_query = scope["path"] == "/" or scope["type"] == "websocket"
        if may_use_query and self._has_query_token(scope):
            return None
        if self._is_token(_read_cookie(headers, self._cookie)):
            return None
        return RequestError(
            401,
            "unauthorized",
            "the token is missing or wrong; open the address that `kinesweep serve` printed, or"
            " send the header `Authorization: Bearer TOKEN`",
        )

    def _has_query_token(self, scope: Scope) -> bool:
        """Return whether the address contains the token."""
        values = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return self._token is not None and any(self._is_token(value) for value in values)

    def _is_token(self, value: str) -> bool:
        """Compare a value with the token, in a time that does not depend on the value."""
        return self._token is not None and hmac.compare_digest(
            value.encode("utf-8", "surrogateescape"), self._token.encode()
        )

    async def _refuse(
        self, scope: Scope, error: RequestError, receive: Receive, send: Send
    ) -> None:
        """Answer a refused request, or close a refused WebSocket before it opens."""
        if scope["type"] == "websocket":
            # Before the handshake is accepted, this makes the server answer it with status 403.
            await send({"type": "websocket.close", "code": 1008, "reason": error.error})
            return
        headers = {"www-authenticate": "Bearer"} if error.status == 401 else {}
        response = JSONResponse(error.to_json(), error.status, headers)
        await response(scope, receive, send)


def _read_cookie(headers: Headers, name: str) -> str:
    """Return the value of a cookie; empty if there is none."""
    # Not by `SimpleCookie`, which drops all cookies if one is malformed: those of other programs on
    # the same host come along. A proxy may split them into several headers.
    return cookie_parser("; ".join(headers.getlist("cookie"))).get(name, "")


def _is_cross_site(headers: Headers) -> bool:
    """Return whether a browser sent the request from a page of another site."""
    origin = headers.get("origin")
    if origin is None:
        # Programs state no origin; their token is checked in any case.
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        # Brackets that do not match; no browser sends them.
        return True


def _get_host_name(headers: Headers) -> str:
    """Return the host that a request names, without its port; empty if it is malformed."""
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _add_security_headers(send: Send) -> Send:
    """Return a function that adds the security headers to responses before it sends them."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            fields = MutableHeaders(scope=message)
            for name, value in _SECURITY_HEADERS.items():
                fields[name] = value
        await send(message)

    return send_with_headers
