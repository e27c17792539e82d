"""A server on loopback that speaks the Hub's API as far as `huggingface_hub` calls it.

It keeps contents by their hash and verifies each against the hash it was announced with, as the Hub
does; large files take the path of LFS (batch, PUT, verify), small ones stand in the commit. What it
is told to do wrong (`faults`, `tampered`) it does; otherwise it is honest.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml
from huggingface_hub import constants
from huggingface_hub.utils import _http

from hub_contents import OWNER, READ_TOKEN, TOKEN, Fault, File, HubServer, Repo

__all__ = ["READ_TOKEN", "TOKEN", "Fault", "HubServer", "hub_environment", "serve_hub", "use_hub"]


class RefusalError(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


REPO = r"(?P<repo>[^/]+/[^/]+)"
ROUTES = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("POST", r"/api/repos/create", "create"),
    ("GET", rf"/api/models/{REPO}(/revision/(?P<revision>[^/]+))?", "info"),
    ("POST", rf"/api/models/{REPO}/branch/(?P<revision>[^/]+)", "branch"),
    ("GET", rf"/api/models/{REPO}/tree/(?P<revision>[^/]+)", "tree"),
    ("POST", rf"/api/models/{REPO}/preupload/(?P<revision>[^/]+)", "preupload"),
    ("POST", rf"/api/models/{REPO}/commit/(?P<revision>[^/]+)", "commit"),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/lfs/(?P<oid>\w+)", "put"),
    ("POST", r"/lfs-verify", "verify"),
    ("GET", r"/cdn/(?P<oid>\w+)", "content"),
    ("GET", rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]


class Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        fault = self.hub.take_fault(f"{self.command} {self.path}")
        if fault is not None and fault.status == 0:
            self.rfile.read(1)
            self.close_connection = True
            return
        body = self.read_body()
        if fault is not None:
            self.reply(fault.status, fault.body.encode(), fault.headers)
            return
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        method = "GET" if self.command == "HEAD" else self.command
        for verb, pattern, name in ROUTES:
            match = re.fullmatch(pattern, url.path)
            if verb == method and match:
                # Groups are unquoted one by one: a branch may contain an encoded slash.
                found = {k: unquote(v) for k, v in match.groupdict().items() if v is not None}
                try:
                    with self.hub.lock:
                        getattr(self, f"do_{name}")(body, **found)
                except RefusalError as refusal:
                    headers = {"X-Error-Message": str(refusal)}
                    if refusal.code:
                        headers["X-Error-Code"] = refusal.code
                    self.send(refusal.status, {"error": str(refusal)}, headers)
                return
        self.send(404, {"error": f"no such route {self.path}"})

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json"}
        self.reply(status, json.dumps(content).encode(), {**kind, **(headers or {})})

    @property
    def storage(self) -> str:
        """The same server under another host, as large files are elsewhere than the Hub."""
        return self.hub.url.replace("127.0.0.1", "localhost")

    @property
    def token(self) -> str | None:
        given = self.headers.get("Authorization")
        if given is None:
            return None
        token = given.removeprefix("Bearer ")
        if token not in (TOKEN, READ_TOKEN):
            raise RefusalError(401, "Invalid credentials in Authorization header")
        return token

    def check_write(self, owner: str) -> None:
        if self.token is None:
            raise RefusalError(401, "Invalid username or password.")
        if self.token != TOKEN or owner != OWNER:
            raise RefusalError(403, f"You don't have the rights to create a model under {owner!r}")

    def find(self, repo: str, revision: str = "main") -> tuple[Repo, str]:
        held = self.hub.repos.get(repo)
        if held is None or (held.private and self.token is None):
            raise RefusalError(
                401 if self.token is None else 404, "Repository not found", "RepoNotFound"
            )
        sha = held.find(revision)
        if sha is None:
            raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return held, sha

    def do_whoami(self, _: bytes) -> None:
        if self.token is None:
            raise RefusalError(401, "Invalid username or password.")
        self.send(200, {"name": OWNER, "type": "user"})

    def do_validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        metadata = yaml.safe_load(match[1]) if match else None
        if not isinstance(metadata, dict):
            self.send(200, {"errors": [], "warnings": [{"message": "empty or missing metadata"}]})
            return
        errors = [
            {"message": f'"{key}" must be a string'}
            for key in ("license", "library_name", "pipeline_tag")
            if not isinstance(metadata.get(key, ""), str)
        ]
        for result in [r for model in metadata.get("model-index", []) for r in model["results"]]:
            if not {"type", "name"} <= result["dataset"].keys() or "type" not in result["task"]:
                errors.append({"message": "model-index: dataset and task must have a type"})
            if not all({"type", "value"} <= metric.keys() for metric in result["metrics"]):
                errors.append({"message": "model-index: a metric must have a type and a value"})
        self.send(400 if errors else 200, {"errors": errors, "warnings": []})

    def do_create(self, body: bytes) -> None:
        asked = json.loads(body)
        owner = asked["organization"] or OWNER
        self.check_write(owner)
        repo = f"{owner}/{asked['name']}"
        if repo in self.hub.repos:
            self.send(409, {"error": "exists", "url": f"{self.hub.url}/{repo}"})
            return
        made = self.hub.repos[repo] = Repo(asked.get("visibility") == "private")
        made.commit("main", {".gitattributes": File(b"*.safetensors filter=lfs\n", False)}, "init")
        self.send(200, {"url": f"{self.hub.url}/{repo}"})

    def do_info(self, _: bytes, repo: str, revision: str = "main") -> None:
        held, sha = self.find(repo, revision)
        self.send(200, {"id": repo, "sha": sha, "private": held.private, "tags": []})

    def do_branch(self, body: bytes, repo: str, revision: str) -> None:
        self.check_write(repo.split("/")[0])
        held, sha = self.find(repo, json.loads(body).get("startingPoint", "main"))
        if revision in held.branches:
            raise RefusalError(409, "Reference already exists")
        held.branches[revision] = sha
        self.send(201, {})

    def do_tree(self, _: bytes, repo: str, revision: str) -> None:
        held, sha = self.find(repo, revision)
        self.send(200, [file.describe(path) for path, file in held.commits[sha].items()])

    def do_preupload(self, body: bytes, repo: str, revision: str) -> None:
        self.check_write(repo.split("/")[0])
        held, sha = self.find(repo, revision)
        answers = []
        for asked in json.loads(body)["files"]:
            mode = "lfs" if asked["size"] > self.hub.lfs_threshold else "regular"
            answer = {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False}
            known = held.commits[sha].get(asked["path"])
            if known is not None:
                entry = known.describe(asked["path"])
                answer["oid"] = entry["lfs"]["oid"] if known.is_lfs else entry["oid"]
            answers.append(answer)
        self.send(200, {"files": answers})

    def do_batch(self, body: bytes, repo: str) -> None:
        self.check_write(repo.split("/")[0])
        answers = []
        for asked in json.loads(body)["objects"]:
            answer = dict(asked)
            if asked["oid"] not in self.hub.objects:
                upload = {"href": f"{self.storage}/lfs/{asked['oid']}?size={asked['size']}"}
                verify = {"href": f"{self.hub.url}/lfs-verify"}
                answer["actions"] = {"upload": upload, "verify": verify}
            answers.append(answer)
        self.send(200, {"transfer": "basic", "objects": answers})

    def do_put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid or len(body) != int(self.query["size"]):
            raise RefusalError(400, "XAmzContentSHA256Mismatch")
        self.hub.objects[oid] = body
        self.send(200, {})

    def do_verify(self, body: bytes) -> None:
        asked = json.loads(body)
        if len(self.hub.objects.get(asked["oid"], b"")) != asked["size"]:
            raise RefusalError(400, "the object was not uploaded")
        self.send(200, {})

    def do_commit(self, body: bytes, repo: str, revision: str) -> None:
        self.check_write(repo.split("/")[0])
        held, sha = self.find(repo, revision)
        files, header = dict(held.commits[sha]), {}
        for line in map(json.loads, body.splitlines()):
            key, value = line["key"], line["value"]
            if key == "header":
                header = value
                if value.get("parentCommit", sha) != sha:
                    raise RefusalError(
                        412, "A commit has happened since. Please refresh and try again."
                    )
            elif key == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if len(self.hub.objects.get(value["oid"], b"")) != value["size"]:
                    raise RefusalError(400, f"{value['path']}: the LFS object does not exist")
                files[value["path"]] = File(self.hub.objects[value["oid"]], True)
            elif key == "deletedFile":
                del files[value["path"]]
            else:
                raise RefusalError(400, f"unknown operation {key}")
        for path in self.hub.tampered & files.keys():
            files[path] = File(files[path].content[:-1] + b"?", files[path].is_lfs)
        oid = held.commit(revision, files, header["summary"])
        self.send(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid})

    def do_resolve(self, _: bytes, repo: str, revision: str, path: str) -> None:
        held, sha = self.find(repo, revision)
        file = held.commits[sha].get(path)
        headers = {"X-Repo-Commit": sha}
        if file is None:
            self.send(404, {}, {**headers, "X-Error-Code": "EntryNotFound"})
            return
        entry = file.describe(path)
        if not file.is_lfs:
            self.reply(200, file.content, {**headers, "ETag": f'"{entry["oid"]}"'})
            return
        oid = entry["lfs"]["oid"]
        self.hub.objects.setdefault(oid, file.content)
        linked = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(file.content))}
        self.reply(302, b"", {**headers, **linked, "Location": f"{self.storage}/cdn/{oid}"})

    def do_content(self, _: bytes, oid: str) -> None:
        content, asked = self.hub.objects[oid], self.headers.get("Range")
        if asked is None:
            self.reply(200, content, {"ETag": f'"{oid}"'})
            return
        start = int(asked.removeprefix("bytes=").split("-")[0])
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.reply(206, content[start:], {"Content-Range": span})


@contextmanager
def serve_hub() -> Iterator[HubServer]:
    hub = HubServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    http.daemon_threads = True
    hub.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def hub_environment(hub: HubServer, cache: Path, token: str | None = TOKEN) -> dict[str, str]:
    """Variables with which a process knows this server only."""
    variables = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(cache),
        "HF_HUB_CACHE": str(cache / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return variables if token is None else {**variables, "HF_TOKEN": token}


def use_hub(monkeypatch: pytest.MonkeyPatch, server: HubServer, cache: Path) -> None:
    """Make this process know this server only; the library read its settings at its import."""
    values = {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache),
        "HF_TOKEN_PATH": str(cache / "token"),
        "HF_HUB_DISABLE_XET": True,
    }
    for name, value in values.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # Retries come at once.
    monkeypatch.setattr(_http.time, "sleep", lambda _: None)
