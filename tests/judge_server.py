"""A server on loopback that answers chat completions like OpenAI's, and fails as it is told to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class JudgeServer:
    """What the server got and what it does next.

    `failures` are (status, headers) that are sent first; status 0 cuts the connection.
    """

    url: str = ""
    answer: Callable[[Body], list[str]] = lambda body: ["4"] * body.get("n", 1)
    logprobs: list[dict[str, Any]] | None = None
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    key: str | None = None
    bodies: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: int = 0
    most_running: int = 0

    def respond(self, body: Body) -> Body:
        texts = self.answer(body)
        choices = [{"index": i, "message": {"content": text}} for i, text in enumerate(texts)]
        for choice in choices if self.logprobs is not None else ():
            choice["logprobs"] = {"content": self.logprobs}
        usage = {"prompt_tokens": 100, "completion_tokens": len(texts), "total_tokens": 0}
        return {"model": body["model"], "choices": choices, "usage": usage}


def build_handler(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def reply(self, status: int, content: object, headers: dict[str, str]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def is_refused(self) -> bool:
            return server.key is not None and (
                self.headers["Authorization"] != f"Bearer {server.key}"
            )

        def do_GET(self) -> None:
            if self.is_refused():
                self.reply(401, {"error": f"wrong key {self.headers['Authorization']}"}, {})
            else:
                self.reply(404, {}, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.running += 1
                server.most_running = max(server.most_running, server.running)
                failure = server.failures.pop(0) if server.failures else None
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
            answer = server.respond(body)
            # Before the reply: the client may send its next request as soon as it has this one.
            with server.lock:
                server.running -= 1
            if failure is not None and failure[0] == 0:
                self.close_connection = True
            elif failure is not None:
                self.reply(failure[0], {"error": self.headers["Authorization"]}, failure[1])
            elif self.is_refused() or self.path != "/v1/chat/completions":
                self.reply(401, {"error": f"wrong key {self.headers['Authorization']}"}, {})
            else:
                self.reply(200, answer, {})

    return Handler


@contextmanager
def serve_judge() -> Iterator[JudgeServer]:
    state = JudgeServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), build_handler(state))
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
