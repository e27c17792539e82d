"""A W&B server as far as runs need one: it remembers each run's rows, settings and files."""

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

KEY = "0" * 40


class WandbServer(ThreadingHTTPServer):
    """Listens on loopback.

    Attributes:
        runs: Id → `rows` of its history, `settings` as last set, `files` by name, `exit_code`.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.runs: dict[str, dict[str, Any]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer a GraphQL query."""
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)[1]  # type: ignore[index]
        run = self.runs.get(variables.get("name", ""))
        project = {"id": "p", "name": variables.get("project"), "entity": {"id": "e", "name": "me"}}
        if name in ("Viewer", "GetDefaultEntity"):
            viewer = {"id": "v", "entity": "me", "username": "me", "email": None, "flags": "{}"}
            return {"viewer": {**viewer, "teams": {"edges": []}}}
        if name == "RunResumeStatus":
            return {"model": {**project, "bucket": run and _resumable(variables["name"], run)}}
        if name == "UpsertBucket":
            run = self.runs.setdefault(variables["name"], {"rows": [], "settings": {}, "files": {}})
            run["settings"] |= {key: x for key, x in variables.items() if x is not None}
            bucket = {"id": "b", "name": variables["name"], "displayName": None, "config": "{}"}
            bucket |= {"sweepName": None, "description": None, "project": project}
            bucket["historyLineCount"] = len(run["rows"])
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if name == "CreateRunFiles":
            at = f"{self.url}/upload/{variables['run']}"
            files = [{"name": each, "uploadUrl": f"{at}/{each}"} for each in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if name in ("Run", "RunHistoryKeys"):
            last = run["rows"][-1]["_step"] if run and run["rows"] else -1
            shown = {"id": "b", "projectId": "1", "name": variables["name"], "state": "finished"}
            shown |= {"config": "{}", "summaryMetrics": "{}"}
            shown["user"] = {"name": "me", "username": "me"}
            return {"project": {"run": {**shown, "historyKeys": {"lastStep": last}}}}
        return {}

    def take_rows(self, run: str, content: dict[str, Any]) -> None:
        """Take what a run streams: rows from a place on, and how it ends."""
        history = (content.get("files") or {}).get("wandb-history.jsonl")
        if history:
            rows = self.runs[run]["rows"]
            rows[history["offset"] :] = [json.loads(row) for row in history["content"]]
        if content.get("complete"):
            self.runs[run]["exit_code"] = content["exitcode"]


def _resumable(name: str, run: dict[str, Any]) -> dict[str, Any]:
    rows = run["rows"]
    tail = json.dumps([json.dumps(row) for row in rows[-1:]])
    empty = {"summaryMetrics": "{}", "config": "{}", "wandbConfig": '{"t": 1}', "eventsTail": "[]"}
    counts = {"historyLineCount": len(rows), "eventsLineCount": 0, "logLineCount": 0}
    shown = {"id": "b", "name": name, "displayName": name, "tags": [], "notes": None}
    return {**shown, **empty, **counts, "historyTail": tail}


class _Request(BaseHTTPRequestHandler):
    server: WandbServer

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        parts = self.path.split("/")
        answer: dict[str, Any] = {}
        if self.path == "/graphql":
            asked = json.loads(content)
            answer["data"] = self.server.answer(asked["query"], asked.get("variables") or {})
        elif self.path.endswith("/file_stream"):
            self.server.take_rows(parts[4], json.loads(content))
        elif parts[1] == "upload":
            self.server.runs[parts[2]]["files"]["/".join(parts[3:])] = content
        said = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_PUT = do_POST


@contextmanager
def serving(server: WandbServer) -> Iterator[WandbServer]:
    """Let a server run in a thread for the `with` block."""
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
