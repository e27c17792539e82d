"""A real Prometheus scrapes a running sweep: every query of every board returns data."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe
from needs import need

pytestmark = pytest.mark.slow
GRAFANA = Path(__file__).resolve().parents[2] / "dashboards/grafana"
SPACE = {
    "question": "Do the boards show a sweep?",
    "recipe": "tiny.yaml",
    "search": {"kind": "random", "trials": 3, "seed": 0},
    "scheduler": {"kind": "none"},
    "finalists": {"count": 1, "seeds": [1, 2]},
    "baseline": False,
    "sanity": [],
    "parameters": {"training.learning_rate": {"log": [1e-4, 1e-2]}},
}


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Ray's files; a path that is short enough for its sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def command(home: Path, ray_folder: Path, *arguments: str) -> subprocess.Popen[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
    env |= {"KINESWEEP_HOME": str(home), "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(ray_folder)}
    with (home / f"{arguments[0]}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "kinesweep", *arguments], env=env, cwd=home, stderr=log
        )


@contextmanager
def prometheus(folder: Path, ray_folder: Path) -> Iterator[str]:
    """The configuration as it is shipped, on a free port of loopback. Yields its address."""
    program = need("prometheus")
    shipped = (GRAFANA / "prometheus.yml").read_text()
    assert "/tmp/ray/prom_metrics" in shipped
    config = folder / "prometheus.yml"
    config.write_text(shipped.replace("/tmp/", f"{ray_folder}/"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    options += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    process = subprocess.Popen([program, *options])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def queries() -> dict[str, str]:
    """`board/panel/query` → PromQL, with Grafana's variables filled in as it does."""
    found = {}
    for board in sorted(GRAFANA.glob("*.json")):
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", "1m")
                query = query.replace("$sweep", ".*").replace("$instance", ".*")
                found[f"{board.stem}/{panel['title']}/{target['refId']}"] = query
    return found


def answers(address: str, query: str) -> bool:
    """Whether a query has data now.

    Raises:
        HTTPError: it is no PromQL.
    """
    asked = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(f"{address}/api/v1/query?{asked}", timeout=10) as reply:
        return bool(json.load(reply)["data"]["result"])


def wait_for(address: str) -> None:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        try:
            urllib.request.urlopen(f"{address}/-/ready", timeout=2).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("Prometheus does not start")


def test_every_query_of_every_board_has_data(tmp_path: Path, ray_folder: Path) -> None:
    need("prometheus")
    training = {"max_steps": 2000, "eval_steps": 500, "logging_steps": 50}
    recipe = tiny_recipe(
        tiny_corpus(tmp_path), tmp_path / "stores", training=training, tracking="mlflow"
    )
    plain = {**recipe.model_dump(mode="json"), "resources": {"workers": 1, "cpus": 1}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(plain))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    missing = queries()
    assert len(missing) > 20
    started = command(tmp_path, ray_folder, "up", "--cores", "2")
    try:
        assert started.wait(200) == 0, (tmp_path / "up.log").read_text()
        with prometheus(tmp_path, ray_folder) as address:
            wait_for(address)
            sweep = command(tmp_path, ray_folder, "submit", "space.yaml")
            while missing and sweep.poll() is None:
                missing = {k: q for k, q in missing.items() if not answers(address, q)}
                time.sleep(2)
            assert sweep.returncode in (None, 0), (tmp_path / "submit.log").read_text()[-3000:]
            assert not missing
            # Nothing waits for the sweep's end.
            sweep.terminate()
            sweep.wait(60)
    finally:
        assert command(tmp_path, ray_folder, "down").wait(100) == 0
