"""Jobs on a cluster whose environment has all dependencies and no Kinesweep."""

import importlib.metadata
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from commands import environment, kinesweep
from corpus import tiny_corpus, tiny_recipe
from installs import make_environment
from kinesweep.pipelines.cluster.ray_cluster import _find_first_free_port, _is_responding
from noise import assert_no_ray_lines

pytestmark = pytest.mark.slow
SPACE = {
    "question": "Does a tiny sweep end on another cluster?",
    "recipe": "tiny.yaml",
    "search": {"kind": "random", "trials": 2, "seed": 0},
    "pruner": {"kind": "none"},
    "finalists": {"count": 1, "seeds": [1, 2]},
    "baseline": False,
    "sanity_baselines": [],
    "parameters": {"training.learning_rate": {"log": [1e-3, 1e-2]}},
}


@dataclass(frozen=True)
class Elsewhere:
    """A cluster of another environment.

    Attributes:
        folder: State folder and corpus, which both sides see.
        address: Address of the job server.
        programs: Folder of the environment's programs.
        env: Variables of commands that submit to it.
    """

    folder: Path
    address: str
    programs: Path
    env: dict[str, str]

    def submit(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Submit the search space from this checkout."""
        words = ("submit", "space.yaml", "--address", self.address, *words)
        return kinesweep(self.folder, self.env, *words)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    folder = tmp_path_factory.mktemp("shared")
    requirements = importlib.metadata.requires("kinesweep") or []
    programs = make_environment(tmp_path_factory.mktemp("cluster"), requirements)
    training = {"max_steps": 8, "eval_steps": 4}
    recipe = tiny_recipe(tiny_corpus(folder), folder / "stores", training=training)
    plain = recipe.model_dump(mode="json")
    del plain["resources"]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(plain))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    ray_folder = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    (ray_folder / "token").write_text("1" * 64)
    env = environment(folder, ray_folder, RAY_AUTH_MODE="token")
    env["RAY_AUTH_TOKEN_PATH"] = str(ray_folder / "token")
    port = _find_first_free_port()
    head = start_head(programs, port, {k: v for k, v in env.items() if k != "KINESWEEP_HOME"})
    address = f"http://127.0.0.1:{port + 1}"
    try:
        give_up = time.monotonic() + 120
        while not _is_responding(f"{address}/api/version", "1" * 64):
            assert head.poll() is None and time.monotonic() < give_up
            time.sleep(0.2)
        yield Elsewhere(folder, address, programs, env)
    finally:
        for process in [*psutil.Process(head.pid).children(recursive=True), head]:
            process.kill()
        head.wait()
        shutil.rmtree(ray_folder, ignore_errors=True)


def start_head(programs: Path, port: int, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a head of an activated environment that knows nothing of this checkout."""
    command = [str(programs / "ray"), "start", "--head", "--block", f"--port={port}"]
    command += ["--node-ip-address=127.0.0.1", f"--dashboard-port={port + 1}", "--num-cpus=2"]
    command += [f"--ray-client-server-port={port + 2}", "--include-log-monitor=false"]
    command += [f"--dashboard-agent-listen-port={port + 3}", f"--metrics-export-port={port + 4}"]
    own = {k: v for k, v in env.items() if k != "PYTHONPATH"}
    own |= {"PATH": f"{programs}:/usr/bin:/bin", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    said = subprocess.run(
        [str(programs / "python"), "-c", "import ray, kinesweep"], env=own, capture_output=True
    )
    assert b"No module named 'kinesweep'" in said.stderr
    return subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, cwd=programs)


def test_a_sweep_runs_on_a_cluster_without_the_package(elsewhere: Elsewhere) -> None:
    """The driver, the extraction's tasks, the slots and their runs all import what was uploaded."""
    began = time.monotonic()
    done = elsewhere.submit()
    assert done.returncode == 0, done.stderr[-3000:]
    print(f"sweep elsewhere: {time.monotonic() - began:.0f} s")
    assert "48 to compute" in done.stderr and "bundle verified" in done.stderr
    assert_no_ray_lines(done.stderr)
    result = json.loads((elsewhere.folder / "sweeps/space/result.json").read_text())
    assert sum(result["trials"].values()) == 2
    again = elsewhere.submit("--resume")
    assert again.returncode == 0 and "bundle verified" in again.stderr, again.stderr[-3000:]


def test_a_cluster_without_the_package_is_named(elsewhere: Elsewhere) -> None:
    done = elsewhere.submit("--package", "installed", "--resume")
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Kinesweep is not installed there; submit with `--package upload`" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interpreter_without_ray_is_named(elsewhere: Elsewhere) -> None:
    done = elsewhere.submit("--python", "/usr/bin/python3", "--resume")
    assert done.returncode == 2, done.stderr[-3000:]
    assert "name the cluster's interpreter by `--python PATH`" in done.stderr
