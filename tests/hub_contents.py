"""What the Hub of the tests holds: repositories, commits, files, and its faults."""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from typing import Any

LFS_THRESHOLD_BYTES = 20_000
TOKEN, READ_TOKEN = "hf_writerSecret123", "hf_readerSecret456"
OWNER = "lab"


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Fault:
    """An answer in place of the right one, to the next requests whose line matches.

    Status 0 cuts the connection after it read some of the body; `skip` requests pass before.
    """

    pattern: str
    status: int
    times: int = 1
    skip: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = "{}"


@dataclass(frozen=True)
class File:
    content: bytes
    is_lfs: bool

    def describe(self, path: str) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "size": len(self.content)}
        if not self.is_lfs:
            return {**entry, "oid": git_oid(self.content)}
        sha256 = hashlib.sha256(self.content).hexdigest()
        lfs = {"oid": sha256, "size": len(self.content), "pointerSize": 134}
        return {**entry, "oid": git_oid(sha256.encode()), "lfs": lfs}


@dataclass
class Repo:
    private: bool
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, File], message: str) -> str:
        sha = hashlib.sha1(repr((len(self.commits), branch, sorted(files))).encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        self.messages.append(message)
        return sha

    def find(self, revision: str) -> str | None:
        sha = self.branches.get(revision, revision)
        return sha if sha in self.commits else None


@dataclass
class HubServer:
    """What the server holds and what it was asked for."""

    url: str = ""
    lfs_threshold: int = LFS_THRESHOLD_BYTES
    repos: dict[str, Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    tampered: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=threading.RLock)

    def add(self, repo: str, files: dict[str, bytes], private: bool = False) -> Repo:
        """Make a repository as a person would by other means."""
        made = self.repos[repo] = Repo(private)
        made.commit("main", {path: File(c, False) for path, c in files.items()}, "initial")
        return made

    def edit(self, repo: str, path: str, content: bytes) -> None:
        """Commit a change of one file, as on the website."""
        held = self.repos[repo]
        files = dict(held.commits[held.branches["main"]])
        files[path] = File(content, path in files and files[path].is_lfs)
        held.commit("main", files, f"edit {path}")

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        held = self.repos[repo]
        return {path: file.content for path, file in held.commits[held.find(revision)].items()}

    def asked(self, pattern: str) -> list[str]:
        return [line for line in self.requests if re.search(pattern, line)]

    def take_fault(self, line: str) -> Fault | None:
        with self.lock:
            self.requests.append(line)
            for fault in self.faults:
                if re.search(fault.pattern, line) and fault.times > 0:
                    if fault.skip > 0:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None
