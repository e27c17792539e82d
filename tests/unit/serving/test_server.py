"""Sockets: slow headers, data that is not HTTP, addresses; and the checks before a start."""

import json
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kinesweep.cli import app as cli
from kinesweep.serving import preparation
from kinesweep.serving.errors import ServingError
from kinesweep.serving.http.server import build_config, is_loopback, open_socket
from kinesweep.serving.limits import ServeLimits
from kinesweep.serving.signals import ended_by_signals
from served import serving


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer without reading the body."""
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hi"})


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_headers_that_do_not_end_are_given_up() -> None:
    with serving(hello, header_timeout_s=0.4) as address:
        started = time.monotonic()
        for sent in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\nx: "):
            with connect(address) as client:
                client.sendall(sent)
                assert read_all(client) == b""
        assert time.monotonic() - started > 1.0
        # Also after a whole request over the same connection, and drop by drop.
        with connect(address) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
            with pytest.raises(OSError):
                for _ in range(100):
                    client.sendall(b"x")
                    time.sleep(0.05)


def test_a_whole_request_may_take_its_time_afterwards() -> None:
    with serving(hello, header_timeout_s=1.0) as address, connect(address) as client:
        for _ in range(3):
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(4096).endswith(b"hi")
            time.sleep(0.6)  # the last request begins after the limit for the first header


def test_data_that_is_not_http_gets_the_usual_error() -> None:
    with serving(hello) as address:
        for garbage in (b"\x16\x03\x01\x02\0\x01\0\0", b"nonsense\r\n\r\n"):
            with connect(address) as client:
                client.sendall(garbage + b"\r\n\r\n")
                answer = read_all(client)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400")
            assert json.loads(body)["error"] == "malformed_http"


def test_headers_are_limited() -> None:
    with serving(hello) as address, connect(address) as client:
        # Closing with unread data may reset the connection instead of answering.
        with suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000)
            assert read_all(client).startswith(b"HTTP/1.1 400")
        # The server goes on.
        with connect(address) as other:
            other.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert other.recv(4096).startswith(b"HTTP/1.1 200")


UPGRADE = (
    b"host: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    "rest",
    [
        b"content-length: 3\r\n\r\nabc",
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"".join(b"a%d: b\r\n" % number for number in range(300)) + b"\r\n",
        b"a: " + b"b" * 20_000 + b"\r\n\r\n",
    ],
)
def test_a_websocket_that_cannot_begin_is_closed(rest: bytes) -> None:
    """It would stay open without end otherwise, even without the token."""
    with serving(hello) as address, connect(address) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\n" + UPGRADE + rest)
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "malformed_http"


@pytest.mark.parametrize("upgrade", [b"host: x\r\n", UPGRADE])
def test_too_many_connections_have_the_usual_error(upgrade: bytes) -> None:
    with serving(hello, max_connections=2) as address, connect(address), connect(address):
        with connect(address) as third:
            third.sendall(b"GET / HTTP/1.1\r\n" + upgrade + b"\r\n")
            answer = read_all(third)
        assert answer.startswith(b"HTTP/1.1 503")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "busy"
    with serving(hello, max_connections=2) as address, connect(address), connect(address) as second:
        second.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert second.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_long_translation_does_not_end_its_websocket() -> None:
    """While a clip is translated, the answer to a ping is not read."""
    limits = ServeLimits(timeout_s=300.0)
    assert build_config(hello, limits).ws_ping_timeout > limits.timeout_s


def test_a_port_in_use_is_named() -> None:
    with open_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ServingError, match=rf"cannot listen on `127.0.0.1:{port}`.*--port"):
            open_socket("127.0.0.1", port)
    with pytest.raises(ServingError, match="--host"):
        open_socket("no.such.host.invalid", 0)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.2", False),
        ("example.org", False),
    ],
)
def test_loopback(host: str, is_local: bool) -> None:
    assert is_loopback(host) == is_local


def refuse(*arguments: str) -> str:
    told = CliRunner().invoke(cli, ["serve", *arguments])
    assert told.exit_code == 2, told.output
    assert "Traceback" not in told.output
    return " ".join(told.output.split())


def test_unusable_arguments_are_refused_before_ray_starts(
    bundle_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray was started"))
    bundle = str(bundle_dir)
    assert "`--no-token` is allowed on loopback only" in refuse(
        bundle, "--no-token", "--host", "0.0.0.0"
    )
    token = tmp_path / "token"
    assert "cannot be read" in refuse(bundle, "--token-file", str(token))
    for text in ("short", "", "with a space in the middle", "ü" * 20, "x" * 9000):
        token.write_text(text)
        assert "--token-file" in refuse(bundle, "--token-file", str(token))
    token.write_text("0123456789abcdef\n")
    assert "either" in refuse(bundle, "--token-file", str(token), "--no-token")
    assert "--gpus" in refuse(bundle, "--gpus", "1.5")
    assert "--gpus" in refuse(bundle, "--gpus", "nan")
    assert "BundleError" in refuse(str(tmp_path), "--token-file", str(token))
    with open_socket("127.0.0.1", 0) as taken:
        assert "cannot listen on" in refuse(bundle, "--port", str(taken.getsockname()[1]))


def test_a_token_with_special_characters_is_quoted_in_the_address(
    bundle_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "kinesweep.serving.service.serve_bundle",
        lambda _, on_ready: on_ready("http://127.0.0.1:1/", 0.0),
    )
    (tmp_path / "token").write_text("a+b/c=d&e#f%20ghijk")
    token_file = str(tmp_path / "token")
    told = CliRunner().invoke(cli, ["serve", str(bundle_dir), "--token-file", token_file])
    assert "http://127.0.0.1:1/?token=a%2Bb%2Fc%3Dd%26e%23f%2520ghijk" in told.output


def test_a_missing_library_is_named(bundle_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(preparation._MODULES, "no_such_module", "ray[serve]")
    assert "pip install 'kinesweep[serve]'" in refuse(str(bundle_dir))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--max-body-mb", "nan"), ("--max-duration", "inf"), ("--max-duration", "nan")),
        *(("--timeout", "nan"), ("--body-timeout", "nan"), ("--batch-wait-ms", "nan")),
    ],
)
def test_limits_are_finite(option: str, value: str) -> None:
    result = CliRunner().invoke(cli, ["serve", "no-bundle", option, value])
    assert result.exit_code == 2 and f"Invalid value for '{option}'" in result.output


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_ends_a_start_like_ctrl_c(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) == before
