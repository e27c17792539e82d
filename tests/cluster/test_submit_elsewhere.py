"""Jobs on a cluster whose environment has all dependencies, but no Kinesweep and no parts."""

import importlib.metadata
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from commands import environment, kinesweep
from corpus import tiny_corpus, tiny_recipe
from installs import make_environment
from kinesweep.pipelines.cluster.cluster_address import find_first_free_port
from kinesweep.pipelines.cluster.ray_cluster import _is_responding
from noise import assert_no_ray_lines
from plugin_package import write_package

pytestmark = pytest.mark.slow
ENCODER = """
from typing import ClassVar, Literal

import torch
from torch import nn

from kinesweep.config.parts import EncoderPart


class Config(EncoderPart):
    kind: Literal["lab_encoder"] = "lab_encoder"
    implementation: ClassVar[str] = "lab_encoder:Encoder"


class Encoder(nn.Module):
    def __init__(self, config, width, out):
        super().__init__()
        self.register_buffer("mean_D", torch.zeros(width))
        self.linear = nn.Linear(width, out)

    def set_statistics(self, mean_D, deviation_D):
        self.mean_D.copy_(mean_D)

    def forward(self, x_BTD, mask_BT):
        return self.linear(x_BTD - self.mean_D), mask_BT
"""
SPACE = {
    "question": "Does a tiny sweep end on another cluster?",
    "recipe": "tiny.yaml",
    "search": {"kind": "random", "trials": 1, "seed": 0},
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
    plain["model"]["encoder"] = {"kind": "lab_encoder"}
    write_package(
        folder / "packages",
        "lab_encoder",
        ENCODER,
        {"kinesweep.encoders": {"lab_encoder": "Config"}},
    )
    (folder / "tiny.yaml").write_text(yaml.safe_dump(plain))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    ray_folder = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    (ray_folder / "token").write_text("1" * 64)
    env = environment(folder, ray_folder, RAY_AUTH_MODE="token")
    env["RAY_AUTH_TOKEN_PATH"] = str(ray_folder / "token")
    env["PYTHONPATH"] = f"{folder / 'packages'}:{env.get('PYTHONPATH', '')}".rstrip(":")
    port = find_first_free_port()
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
    command += ["--node-ip-address=127.0.0.1", f"--dashboard-port={port + 1}"]
    # One slot: a second one would import PyTorch for runs of eight steps.
    command += ["--num-cpus=1"]
    command += [f"--ray-client-server-port={port + 2}", "--include-log-monitor=false"]
    command += [f"--dashboard-agent-listen-port={port + 3}", f"--metrics-export-port={port + 4}"]
    own = {k: v for k, v in env.items() if k != "PYTHONPATH"}
    own |= {"PATH": f"{programs}:/usr/bin:/bin", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    said = subprocess.run(
        [str(programs / "python"), "-c", "import ray, kinesweep"], env=own, capture_output=True
    )
    assert b"No module named 'kinesweep'" in said.stderr
    return subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, cwd=programs)


def test_a_sweep_runs_on_a_cluster_without_the_packages(elsewhere: Elsewhere) -> None:
    """The driver, the extraction's tasks, the slots and their runs all import what was uploaded.

    What cannot run is refused before it starts, also while a job with an upload runs.
    """
    began = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        upload = threads.submit(elsewhere.submit)
        installed = threads.submit(elsewhere.submit, "--package", "installed", "--name", "no")
        foreign = threads.submit(elsewhere.submit, "--python", "/usr/bin/python3", "--name", "no")
    done = upload.result()
    assert done.returncode == 0, done.stderr[-3000:]
    print(f"sweep elsewhere: {time.monotonic() - began:.0f} s")
    assert "48 to compute" in done.stderr and "bundle verified" in done.stderr
    assert_no_ray_lines(done.stderr)
    result = json.loads((elsewhere.folder / "sweeps/space/result.json").read_text())
    assert sum(result["trials"].values()) == 1
    wanted = (
        (installed, "Kinesweep is not installed there; submit with `--package upload`"),
        (installed, "`lab_encoder` is not installed, needs ==1.0"),
        (installed, "-m pip install lab_encoder==1.0"),
        (foreign, "name the cluster's interpreter by `--python PATH`"),
    )
    for refused, words in wanted:
        assert refused.result().returncode == 2, refused.result().stderr[-3000:]
        assert words in refused.result().stderr
        assert "Traceback" not in refused.result().stderr
    assert not (elsewhere.folder / "sweeps/no").exists()
