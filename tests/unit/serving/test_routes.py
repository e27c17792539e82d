"""The routes: token, limits, errors in one form, the protocol of frames, metrics."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from kinesweep.serving.accepted_inputs import AcceptedInputs
from kinesweep.serving.clip_request import ClipRequest, clean_file_name
from kinesweep.serving.http.app import build_app
from kinesweep.serving.http.served_bundle import ServedBundle
from kinesweep.serving.http.stream import serve_stream
from kinesweep.serving.limits import ServeLimits
from served import TOKEN, make_served

HEADERS = {"authorization": f"Bearer {TOKEN}"}
LIMITS = ServeLimits(max_body_bytes=10_000, body_timeout_s=0.3, max_requests=2, max_duration_s=10.0)


class Echo:
    """Answers with what it got."""

    def __init__(self) -> None:
        self.requests: list[ClipRequest] = []

    async def translate(self, request: ClipRequest) -> dict[str, Any]:
        self.requests.append(request)
        if request.options.prompt == "bug":
            raise ZeroDivisionError("a secret of the server")
        return {"text": "echo", "batch": {"size": 3, "index": 0, "seconds": 0.0}}


@pytest.fixture(scope="module")
def inputs(bundle_dir: Path) -> AcceptedInputs:
    return AcceptedInputs.read(bundle_dir)


@pytest.fixture
def served(inputs: AcceptedInputs) -> ServedBundle:
    return make_served(inputs, Echo(), LIMITS)


@pytest.fixture
def client(served: ServedBundle) -> TestClient:
    return TestClient(build_app(served, TOKEN), raise_server_exceptions=False)


def refused(response: Any, status: int, error: str) -> dict[str, Any]:
    """The error of a response, which always has the same form."""
    body = response.json()
    assert (response.status_code, body["error"]) == (status, error), body
    assert set(body) == {"error", "reason", "allowed"} and body["reason"]
    return dict(body)


def translate(client: TestClient, **kwargs: Any) -> Any:
    kwargs.setdefault("headers", HEADERS)
    return client.post("/translate", **kwargs)


@pytest.mark.parametrize("path", ["/", "/page.js", "/info", "/metrics", "/translate", "/nowhere"])
def test_everything_but_probes_needs_the_token(client: TestClient, path: str) -> None:
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"cookie": "kinesweep=wrong"},
        {"authorization": b"Bearer \xff\xfe"},
    ):
        refused(client.get(path, headers=headers), 401, "unauthorized")
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}


def test_a_token_in_the_address_opens_the_page_only(client: TestClient) -> None:
    refused(client.get(f"/info?token={TOKEN}"), 401, "unauthorized")
    refused(client.get("/?token=wrong"), 401, "unauthorized")
    response = client.get(f"/?token={TOKEN}", follow_redirects=False)
    assert response.status_code == 303 and TOKEN not in response.headers["location"]
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    # The client has the cookie now.
    assert "Motion to text" in client.get("/").text
    assert client.get("/info").status_code == 200


@pytest.mark.parametrize(
    "cookies",
    [
        ['a[b]=c d; {"x": 1}; kinesweep=TOKEN'],  # those of other programs on the same host
        ["a=b", "kinesweep=TOKEN"],  # split by a proxy
    ],
)
def test_the_cookie_is_found_among_others(client: TestClient, cookies: list[str]) -> None:
    headers = [("cookie", cookie.replace("TOKEN", TOKEN)) for cookie in cookies]
    assert client.get("/info", headers=headers).status_code == 200


def test_a_cookie_keeps_every_token(served: ServedBundle) -> None:
    token = "a+b/c=d&e#f%20gh@(ijk)"
    client = TestClient(build_app(served, token))
    assert client.get("/", params={"token": token}).status_code == 200
    assert client.get("/info").status_code == 200


def test_pages_of_other_sites_are_refused(client: TestClient) -> None:
    other = {**HEADERS, "origin": "https://evil.example"}
    refused(translate(client, content=b"x", headers=other), 403, "foreign_origin")
    own = {**HEADERS, "origin": "http://testserver"}
    assert translate(client, content=b"x", headers=own).status_code == 200
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/stream", headers=other):
        pass


@pytest.mark.parametrize("origin", ["http://[", "null", "http://testserver.evil.org"])
def test_malformed_origins_are_those_of_other_sites(client: TestClient, origin: str) -> None:
    refused(client.get("/info", headers={**HEADERS, "origin": origin}), 403, "foreign_origin")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost:8500", 200), ("127.0.0.1", 200), ("[::1]:8500", 200)),
        *(("evil.org:8500", 403), ("localhost.evil.org", 403), ("[", 403)),
    ],
)
def test_without_a_token_other_names_of_the_server_are_refused(
    served: ServedBundle, host: str, status: int
) -> None:
    """Otherwise a site could reach the server by its own name, which points to loopback."""
    headers = {"host": host, "origin": f"http://{host}"}
    assert TestClient(build_app(served, None)).get("/info", headers=headers).status_code == status


def test_the_page_needs_nobody_else(client: TestClient) -> None:
    for path in ("/", "/page.js", "/page.css"):
        response = client.get(path, headers=HEADERS)
        assert response.status_code == 200
        assert not re.search(r"https?://|//[a-z]+\.[a-z]+/", response.text)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"


def test_a_file_comes_as_a_body_or_in_a_form(client: TestClient, served: ServedBundle) -> None:
    raw = translate(client, content=b"abc", params={"name": "../../a b.pose", "num_beams": "3"})
    form = translate(
        client, files={"file": ("x/y.pose", b"abc")}, data={"prompt": "<de>", "attention": "true"}
    )
    assert raw.json()["text"] == form.json()["text"] == "echo"
    first, second = served.translator.requests  # type: ignore[attr-defined]
    assert (first.files[0].name, first.files[0].content) == ("a b.pose", b"abc")
    assert first.options.num_beams == 3
    assert (second.files[0].name, second.files[0].content) == ("y.pose", b"abc")
    assert second.options.prompt == "<de>" and second.options.attention


FORM = (
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="x.pose"\r\n\r\nabc\r\n--b\r\n'
)


@pytest.mark.parametrize(
    ("request_kwargs", "status", "error"),
    [
        ({"content": b""}, 400, "empty_file"),
        ({"files": {"file": ("x.mp4", b"abc")}}, 415, "unsupported_file"),
        ({"files": {"file": ("x.tsv", b"abc")}, "data": {}}, 415, "unsupported_file"),
        ({"files": {"other": ("x.pose", b"abc")}}, 400, "no_file"),
        ({"files": [("file", ("x.pose", b"a")), ("file", ("y.pose", b"b"))]}, 422, "invalid_field"),
        ({"files": [("file", ("x.pose", b"a")), ("z", ("y.pose", b"b"))]}, 422, "invalid_field"),
        (
            {  # cut off within an option, which must not be lost
                "content": FORM + b'content-disposition: form-data; name="seed"\r\n\r\n1',
                "headers": {**HEADERS, "content-type": "multipart/form-data; boundary=b"},
            },
            400,
            "malformed_form",
        ),
        ({"content": b"x", "params": {"num_beams": "0"}}, 422, "invalid_option"),
        ({"content": b"x", "params": {"num_beams": "1000"}}, 422, "invalid_option"),
        ({"content": b"x", "params": {"temperature": "nan"}}, 422, "invalid_option"),
        ({"content": b"x", "params": {"prompt": "a" * 5000}}, 422, "invalid_option"),
        (
            {"content": b"x", "headers": {**HEADERS, "content-type": "multipart/form-data"}},
            400,
            "malformed_form",
        ),
        (
            {
                "content": b"--b\r\n\xff\xfe\r\n\r\nx",
                "headers": {**HEADERS, "content-type": "multipart/form-data; boundary=b"},
            },
            400,
            "malformed_form",
        ),
    ],
)
def test_unusable_requests(
    client: TestClient, request_kwargs: dict[str, Any], status: int, error: str
) -> None:
    refused(translate(client, **request_kwargs), status, error)


@pytest.mark.parametrize("query", ["num_beams=2&num_beams=3", "num_beams=2"])
def test_an_option_given_twice_is_refused(client: TestClient, query: str) -> None:
    """One of the values would be ignored otherwise, in the query as in the form."""
    files = {"file": ("clip.pose", b"x")}
    answer = translate(client, params=query, files=files, data={"num_beams": "2"})
    assert "occurs twice" in refused(answer, 422, "invalid_option")["reason"]


def test_all_invalid_options_are_named(client: TestClient) -> None:
    body = refused(
        translate(client, content=b"x", params={"num_beams": "many", "beam": "1", "seed": "-1"}),
        422,
        "invalid_option",
    )
    assert all(f"`{name}`" in body["reason"] for name in ("num_beams", "beam", "seed"))
    assert "num_beams" in body["allowed"]["options"]


def test_unknown_paths_and_methods(client: TestClient) -> None:
    refused(client.get("/nowhere", headers=HEADERS), 404, "not_found")
    refused(client.get("/translate", headers=HEADERS), 405, "method_not_allowed")
    # No redirect, which would lead to the host that the request names.
    refused(client.get("/info/", headers=HEADERS, follow_redirects=False), 404, "not_found")


def test_a_bug_tells_clients_nothing(client: TestClient, served: ServedBundle) -> None:
    response = translate(client, content=b"x", params={"prompt": "bug"})
    assert "secret" not in refused(response, 500, "internal")["reason"]
    assert served.gate.num_requests == 0


def test_the_largest_body_is_accepted_and_no_larger_one(client: TestClient) -> None:
    assert translate(client, content=b"x" * 10_000).status_code == 200
    refused(translate(client, content=b"x" * 10_001), 413, "body_too_large")


async def _post(served: ServedBundle, messages: list[dict[str, Any]], **headers: str) -> Any:
    """Post a body in parts. Returns status, body, and how many parts were taken."""
    sent: list[dict[str, Any]] = []
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if taken == len(messages):
            await asyncio.sleep(60)  # a client that sends nothing more
        taken += 1
        return messages[taken - 1]

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    fields = {"authorization": f"Bearer {TOKEN}", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/translate",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "http_version": "1.1",
    }
    await build_app(served, TOKEN)(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"]), taken


PART = {"type": "http.request", "body": b"x" * 1000, "more_body": True}


def test_a_body_without_a_length_is_refused_while_it_arrives(served: ServedBundle) -> None:
    status, body, taken = asyncio.run(_post(served, [PART] * 1000))
    assert (status, body["error"], taken) == (413, "body_too_large", 11)
    # By its length nothing is read at all.
    status, body, taken = asyncio.run(_post(served, [PART], **{"content-length": str(2**30)}))
    assert (status, body["error"], taken) == (413, "body_too_large", 0)
    assert served.gate.num_requests == 0


def test_a_slow_body_is_given_up(served: ServedBundle) -> None:
    status, body, taken = asyncio.run(_post(served, [PART]))
    assert (status, body["error"], taken) == (408, "body_timeout", 1)
    assert served.gate.num_requests == 0


def test_a_client_that_goes_away_costs_nothing(served: ServedBundle) -> None:
    status, body, _ = asyncio.run(_post(served, [PART, {"type": "http.disconnect"}]))
    assert (status, body["error"]) == (400, "disconnected")
    assert served.gate.num_requests == 0


def test_more_requests_than_allowed_are_told_to_wait(
    client: TestClient, served: ServedBundle
) -> None:
    with served.gate.admit(), served.gate.admit():
        response = translate(client, content=b"x")
        assert refused(response, 429, "too_many_requests")["allowed"] == {"max_requests": 2}
        assert response.headers["retry-after"] == "1"
    assert translate(client, content=b"x").status_code == 200


def test_bodies_in_memory_are_limited_together(inputs: AcceptedInputs) -> None:
    served = make_served(inputs, Echo(), ServeLimits(max_body_bytes=100, max_requests=100))
    client = TestClient(build_app(served, TOKEN))
    counters = [served.gate.admit() for _ in range(8)]
    for counter in counters:
        counter.__enter__().add(100)
    refused(translate(client, content=b"x"), 503, "busy")
    counters[0].__exit__(None, None, None)
    assert translate(client, content=b"x").status_code == 200


def test_a_server_that_ends_accepts_nothing_new(client: TestClient, served: ServedBundle) -> None:
    served.gate.is_draining = True
    refused(translate(client, content=b"x"), 503, "shutting_down")
    refused(client.get("/ready"), 503, "shutting_down")
    assert client.get("/health").status_code == 200


def test_metrics_count_requests_errors_and_batches(client: TestClient) -> None:
    translate(client, content=b"x")
    translate(client, content=b"")
    text = client.get("/metrics", headers=HEADERS).text
    assert 'kinesweep_serve_requests_total{route="translate",status="200"} 1.0' in text
    assert 'kinesweep_serve_errors_total{error="empty_file"} 1.0' in text
    assert "kinesweep_serve_batch_size_sum 3.0" in text
    assert 'kinesweep_serve_latency_seconds_count{route="translate"} 2.0' in text
    assert TOKEN not in text


def test_metrics_count_open_sockets_as_in_progress(client: TestClient) -> None:
    def count() -> float:
        text = client.get("/metrics", headers=HEADERS).text
        (line,) = (x for x in text.splitlines() if x.startswith("kinesweep_serve_in_progress "))
        return float(line.split()[1])

    with client.websocket_connect("/stream", headers=HEADERS) as ws:
        ws.send_json(START)
        ws.receive_json()
        assert count() == 1
        ws.send_json({"type": "end"})
        ws.receive_json()
    assert count() == 0


def test_info_states_inputs_and_limits(client: TestClient) -> None:
    info = client.get("/info", headers=HEADERS).json()
    assert info["files"] == {"file": "`.pose` files"} and not info["takes_videos"]
    assert info["limits"]["max_body_bytes"] == 10_000
    assert info["generation"]["num_beams"] == 2
    assert info["streams"]["pose"]["width"] == 534


LAYOUT = [["POSE_LANDMARKS", ["LEFT_SHOULDER", "RIGHT_SHOULDER"]]]
START = {"type": "start", "rate_hz": 10, "points": LAYOUT, "coordinates": 3}


def test_frames_come_in_and_a_text_goes_out(client: TestClient, served: ServedBundle) -> None:
    frame = np.arange(6, dtype="<f4")
    with client.websocket_connect("/stream", headers=HEADERS) as ws:
        for _ in range(2):  # a second clip over the same connection
            ws.send_json({**START, "every_s": 0.2, "options": {"alternatives": 2}})
            assert ws.receive_json() == {"type": "ready", "values_per_frame": 6}
            ws.send_bytes(frame.tobytes())
            ws.send_json({"type": "frames", "values": [frame.tolist()]})
            assert ws.receive_json()["type"] == "partial"
            ws.send_bytes(frame.tobytes())
            ws.send_json({"type": "end"})
            result = ws.receive_json()
            assert (result["type"], result["frames"], result["text"]) == ("result", 3, "echo")
    points = served.translator.requests[-1].points  # type: ignore[attr-defined]
    assert np.array_equal(points.to_array(), [frame] * 3)
    assert served.gate.num_requests == 0


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([b"abcd"], "invalid_message"),
        (["no json"], "invalid_message"),
        (["[1]"], "invalid_message"),
        ([{"type": "end"}], "invalid_message"),
        ([{"type": "start"}], "invalid_start"),
        ([{**START, "rate_hz": 0}], "invalid_start"),
        ([{**START, "fps": 3}], "invalid_start"),
        ([{**START, "options": {"beams": 1}}], "invalid_option"),
        ([{**START, "points": []}], "invalid_points"),
        ([START, {"type": "end"}], "no_frames"),
        ([START, b"abc"], "invalid_frames"),
        ([START, b""], "invalid_frames"),
        ([START, {"type": "frames", "values": [[1, 2]]}], "invalid_frames"),
        ([START, {"type": "frames", "values": "x"}], "invalid_frames"),
        ([START, {"type": "frames", "values": [["1"] * 6]}], "invalid_frames"),
        ([START, {"type": "frames", "values": [[True] * 6]}], "invalid_frames"),
        ([START, {"type": "frames", "values": [[None, "1", 1, 1, 1, 1]]}], "invalid_frames"),
        ([START, {"type": "frames", "values": [[{}] * 6]}], "invalid_frames"),
        (['{"type": "start", "rate_hz": 10, "points": [["\\ud800", ["x"]]]}'], "invalid_message"),
        (['{"type": "start", "rate_hz": 10, "\\udfff": 1}'], "invalid_message"),
        ([START, {"type": "frames"}], "invalid_frames"),
        ([START, b"\0" * 24 * 101], "clip_too_long"),
        ([{**START, "rate_hz": 1000}, b"\0" * 24 * 500], "body_too_large"),
        ([START], "body_timeout"),
    ],
)
def test_unusable_frames(
    client: TestClient, served: ServedBundle, messages: list[Any], error: str
) -> None:
    with client.websocket_connect("/stream", headers=HEADERS) as ws:
        for message in messages:
            if isinstance(message, bytes):
                ws.send_bytes(message)
            elif isinstance(message, str):
                ws.send_text(message)
            else:
                ws.send_json(message)
        answer = ws.receive_json()
        if answer["type"] == "ready":
            answer = ws.receive_json()
        assert (answer["type"], answer["error"]) == ("error", error), answer
    assert served.gate.num_requests == 0


def test_null_is_a_point_that_was_not_detected(client: TestClient, served: ServedBundle) -> None:
    """JavaScript writes NaN as null."""
    with client.websocket_connect("/stream", headers=HEADERS) as ws:
        ws.send_json(START)
        ws.receive_json()
        ws.send_json({"type": "frames", "values": [[None, 1, 2.5, 1e99, -(10**30), 0]]})
        ws.send_json({"type": "end"})
        assert ws.receive_json()["type"] == "result"
    points = served.translator.requests[-1].points  # type: ignore[attr-defined]
    expected = np.array([[np.nan, 1, 2.5, np.inf, -1e30, 0]], "<f4")
    assert np.array_equal(points.to_array(), expected, equal_nan=True)


def test_a_client_that_left_before_its_error_is_no_error(served: ServedBundle) -> None:
    """The error cannot be sent any more; the request is counted and nothing is raised."""
    sent: list[Any] = []

    class Gone:
        async def accept(self) -> None:
            sent.append("accept")

        async def receive(self) -> dict[str, Any]:
            return {"type": "websocket.receive", "text": "[]"}

        async def send_json(self, _: Any) -> None:
            raise WebSocketDisconnect(1006)

    socket: Any = Gone()
    assert asyncio.run(serve_stream(socket, served)) == 400
    assert sent == ["accept"] and served.gate.num_requests == 0


def test_a_socket_needs_the_token(client: TestClient) -> None:
    for path in ("/stream", "/stream?token=wrong"):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
            pass
    with client.websocket_connect(f"/stream?token={TOKEN}") as ws:
        ws.send_json(START)
        assert ws.receive_json()["type"] == "ready"


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.pose", "y.pose"),
        ("a\0b\n.pose", "a_b_.pose"),
        ("..", "clip"),
        ("", "clip"),
        ("x" * 500 + ".pose", "x" * 115 + ".pose"),
        ("häuser.pose", "häuser.pose"),
    ],
)
def test_file_names_lead_nowhere(name: str, cleaned: str) -> None:
    assert clean_file_name(name) == cleaned


@pytest.mark.parametrize("character", ["字", "é", "\U00020000"])
def test_file_names_fit_into_file_systems(character: str) -> None:
    """They allow 255 bytes, and a character has up to 4."""
    cleaned = clean_file_name(character * 119 + ".pose")
    assert len(cleaned.encode()) <= 120 and cleaned.endswith(f"{character}.pose")
    assert set(cleaned.removesuffix(".pose")) == {character}
