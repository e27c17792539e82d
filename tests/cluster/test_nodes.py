"""Two Ray nodes with addresses of their own: a sweep uses both, and both find the features."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sweeping import make_lab, times

pytestmark = pytest.mark.slow
NODES = """
import time
import ray
ray.init(log_to_driver=False)
until = time.monotonic() + 60
while time.monotonic() < until:
    found = sorted(n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"])
    if len(found) == 2:
        break
    time.sleep(0.2)
print(*found)
"""


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Variables under which two nodes run, with Ray's files in a short path of their own."""
    folder = Path(tempfile.mkdtemp(prefix="ks-"))
    (folder / "token").write_text(secrets.token_hex(32))
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    own = {
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        own["RAY_ADDRESS"] = f"127.0.0.2:{probe.getsockname()[1]}"
    yield env | own
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def two_nodes(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Start two nodes, again where they did not find each other.

    `ray start` waits 30 s for its raylet, which cannot be set, and three Rays may start at once.
    """
    for _ in range(3):
        running: list[subprocess.Popen[bytes]] = []
        try:
            found = start_nodes(environment, running)
            if found == ["127.0.0.2", "127.0.0.3"]:
                yield environment
                return
        finally:
            kill(running)
    pytest.fail(f"of two nodes there are {found}")


def start_nodes(environment: dict[str, str], running: list["subprocess.Popen[bytes]"]) -> list[str]:
    """Start a head and a second node, both added to `running`; return the addresses they have."""
    address = environment["RAY_ADDRESS"]
    ray = str(Path(sys.executable).with_name("ray"))
    env = {k: v for k, v in environment.items() if k != "RAY_ADDRESS"}
    common = [ray, "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    head = [*common, "--head", "--node-ip-address=127.0.0.2", f"--port={address.split(':')[1]}"]
    head += ["--include-dashboard=false"]
    second = [*common, "--node-ip-address=127.0.0.3", f"--address={address}"]
    running.append(subprocess.Popen(head, env=env, stdout=subprocess.DEVNULL))
    wait_for_port(*address.split(":"))
    running.append(subprocess.Popen(second, env=env, stdout=subprocess.DEVNULL))
    # One process that waits for both: each new one would import Ray anew.
    return subprocess.run(
        [sys.executable, "-c", NODES], env=environment, capture_output=True, text=True
    ).stdout.split()


def kill(running: list["subprocess.Popen[bytes]"]) -> None:
    """Kill nodes with all their processes: to stop one takes `ray start --block` 16 s."""
    for process in running:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()


def wait_for_port(host: str, port: str) -> None:
    """Wait until somebody listens."""
    give_up = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < give_up
            time.sleep(0.1)


def test_a_sweep_uses_both(two_nodes: dict[str, str], tmp_path: Path) -> None:
    made = make_lab(tmp_path, training={"max_steps": 60, "eval_steps": 20})
    recipe, space = tmp_path / "recipe.json", tmp_path / "space.json"
    plan = {
        "search": {"kind": "random", "trials": 4},
        "finalists": {"count": 1, "seeds": [1, 2]},
        "baseline": False,
        "sanity_baselines": [],
    }
    recipe.write_text(made.recipe.model_dump_json())
    space.write_text(made.space(**plan).model_dump_json(by_alias=True))
    space.with_suffix(".store").write_text(json.dumps(str(made.store.folder)))
    command = [sys.executable, "-m", "sweeping", *map(str, (tmp_path / "sweep", recipe, space))]
    done = subprocess.run(command, env=two_nodes, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = times(tmp_path / "sweep")
    assert len(runs) == 4 + 2
    nodes = {run: {row["node"] for row in rows} for run, rows in runs.items()}
    assert all(len(found) == 1 for found in nodes.values())
    assert len(set.union(*nodes.values())) == 2, "one of two nodes stood idle"
