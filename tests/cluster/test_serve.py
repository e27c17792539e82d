"""`kinesweep serve` as a process: many clients, large bodies, a killed replica, its end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from commands import command, environment
from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import Bundle, export_bundle
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.slow
REQUESTS, CLIENTS = 200, 16
GIGABYTE = 2**30
BODY_TIMEOUT_S = 3
STEPS = {"learning_rate": 5e-3, "lr_scheduler_type": "constant", "max_steps": 120, "eval_steps": 60}


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: "subprocess.Popen[str]"
    url: str
    headers: dict[str, str]
    files: list[Path]
    texts: list[str]

    def translate(self, index: int) -> tuple[int, httpx.Response, float]:
        file, started = self.files[index % len(self.files)], time.monotonic()
        response = httpx.post(
            f"{self.url}translate",
            content=file.read_bytes(),
            params={"name": file.name},
            headers=self.headers,
            timeout=120,
        )
        return index, response, time.monotonic() - started

    def translate_all(self, count: int) -> list[tuple[int, httpx.Response, float]]:
        """Translate clips with all clients at once; every text is that of `translate`."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(self.translate, range(count)))
        assert Counter(answer.status_code for _, answer, _ in answers) == {200: count}
        for index, answer, _ in answers:
            assert answer.json()["text"] == self.texts[index % len(self.files)]
        return answers

    def wait_until_busy(self) -> None:
        """Wait until requests are in progress, which takes clients of a busy machine a while."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            metrics = httpx.get(f"{self.url}metrics", headers=self.headers).text
            (count,) = (
                float(line.split()[1])
                for line in metrics.splitlines()
                if line.startswith("kinesweep_serve_in_progress ")
            )
            if count >= CLIENTS / 2:
                return
        raise AssertionError("no requests are in progress")

    def get_replica_pids(self) -> set[int]:
        return {answer.json()["batch"]["replica"] for _, answer, _ in self.translate_all(32)}


def _start(bundle: Path, home: Path, ray_folder: Path, *options: str) -> Any:
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join(map(str, [root / "platform", root / "tests"]))
    env = environment(home, ray_folder, PYTHONPATH=paths)
    return subprocess.Popen(
        command("serve", str(bundle), "--json", *options),
        env=env, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    recipe = tiny_recipe(tiny_corpus(folder), folder / "stores", training=STEPS)
    store = tiny_store(recipe)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    bundle = export_bundle(folder / "run", folder / "bundle", store)
    files = sorted((folder / "corpus").rglob("*.pose"))
    loaded = Bundle.load(bundle)
    texts = [loaded.translate([file])[0] for file in files]
    assert len(set(texts)) > 5
    ray_folder = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    options = ["--port", "0", "--replicas", "2", "--body-timeout", str(BODY_TIMEOUT_S)]
    process = _start(bundle, folder, ray_folder, *options)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        told = json.loads(line)
        print(f"started in {told['seconds']:.1f} s", file=sys.stderr)
        headers = {"authorization": f"Bearer {told['token']}"}
        yield Server(process, told["url"], headers, files, texts)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        shutil.rmtree(ray_folder, ignore_errors=True)


def test_many_clients_get_the_texts_of_translate_in_batches(server: Server) -> None:
    answers = server.translate_all(REQUESTS)
    seconds = sorted(seconds for *_, seconds in answers)
    sizes = Counter(answer.json()["batch"]["size"] for _, answer, _ in answers)
    p95 = seconds[int(0.95 * REQUESTS)]
    print(f"p50 {seconds[REQUESTS // 2]:.2f} s, p95 {p95:.2f} s, sizes {sorted(sizes.items())}")
    assert max(sizes) > 1
    assert p95 < 30


def test_a_gigabyte_is_refused_without_being_kept(server: Server) -> None:
    host, port = server.url.removeprefix("http://").rstrip("/").split(":")
    before = psutil.Process(server.process.pid).memory_info().rss
    token = server.headers["authorization"]
    for length in (f"content-length: {GIGABYTE}", "transfer-encoding: chunked"):
        head = f"POST /translate HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n{length}\r\n\r\n"
        started, sent, part = time.monotonic(), 0, b"x" * 2**20
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(head.encode())
            client.settimeout(0.0)
            answer = b""
            while not answer and sent < GIGABYTE:
                client.settimeout(30)
                is_chunked = length.startswith("transfer")
                client.sendall(b"100000\r\n" + part + b"\r\n" if is_chunked else part)
                sent += len(part)
                client.settimeout(0.001)
                try:
                    answer = client.recv(65536)
                except TimeoutError:
                    continue
            client.settimeout(10)
            while b"\r\n\r\n" not in answer or answer.endswith(b"\r\n\r\n"):
                answer += client.recv(65536)  # the body may follow in a packet of its own
        assert answer.startswith(b"HTTP/1.1 413") and b"body_too_large" in answer
        assert sent < GIGABYTE / 4 and time.monotonic() - started < 30
    grown = psutil.Process(server.process.pid).memory_info().rss - before
    assert grown < 400 * 2**20
    server.translate_all(4)


def test_garbage_and_slow_clients_cost_nobody_else_anything(server: Server) -> None:
    answer = httpx.post(f"{server.url}translate", content=b"garbage", headers=server.headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "unusable_file")
    host, port = server.url.removeprefix("http://").rstrip("/").split(":")
    token = server.headers["authorization"]
    head = f"POST /translate HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"{head}content-length: 1000\r\n\r\nslow".encode())
        started = time.monotonic()
        server.translate_all(8)
        assert client.recv(4096).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < BODY_TIMEOUT_S + 20


def test_a_killed_replica_loses_nothing(server: Server) -> None:
    killed = next(iter(server.get_replica_pids()))
    with ThreadPoolExecutor(1) as killer:
        load = killer.submit(server.translate_all, REQUESTS)
        server.wait_until_busy()
        os.kill(killed, signal.SIGSTOP)  # so that it holds clips when it dies, however fast it is
        time.sleep(1.5)
        assert not load.done()
        os.kill(killed, signal.SIGKILL)
        answers = load.result(300)
    survivors = {answer.json()["batch"]["replica"] for _, answer, _ in answers}
    assert survivors - {killed}
    metrics = httpx.get(f"{server.url}metrics", headers=server.headers).text
    (retries,) = (
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith("kinesweep_serve_retries_total ")
    )
    assert retries >= 1


def test_a_second_server_on_the_port_is_refused(server: Server, tmp_path: Path) -> None:
    port = server.url.rstrip("/").rpartition(":")[2]
    bundle = server.files[0].parents[3] / "bundle"
    second = _start(bundle, tmp_path, tmp_path / "ray", "--port", port)
    _, told = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "cannot listen on" in told and "Traceback" not in told


def test_an_interrupt_ends_after_the_requests_in_progress(server: Server) -> None:
    """The last test of this file: nothing is left running."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    with ThreadPoolExecutor(CLIENTS) as clients:
        load = [clients.submit(server.translate, index) for index in range(4 * CLIENTS)]
        server.wait_until_busy()
        server.process.send_signal(signal.SIGINT)
        statuses = Counter(one.result()[1].status_code for one in load if not one.exception())
    # Whoever came too late is refused or finds nobody; nobody waits without end.
    assert set(statuses) <= {200, 503} and statuses[200]
    assert server.process.wait(60) == 0
    told = server.process.stderr.read()  # type: ignore[union-attr]
    assert "Traceback" not in told
    _, alive = psutil.wait_procs(children, 20)
    assert not alive
