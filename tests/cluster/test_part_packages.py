"""Packages of others on a real cluster: encoder, loss and metric, from search to bundle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import kinesweep as ks
from corpus import tiny_corpus, tiny_recipe
from kinesweep.scaffolding import write_part_package
from kinesweep.sweeps.journal.journal import build_trials, read_journal

pytestmark = [pytest.mark.slow, pytest.mark.integration]
ROLES = ("encoder", "loss", "metric")
TRANSLATE = """
import json, sys
import kinesweep as ks
print(json.dumps(ks.load_bundle(sys.argv[1]).translate(sys.argv[2:])))
"""


def install_packages(folder: Path) -> Path:
    """Install packages as `kinesweep new` writes them into a folder."""
    packages = [write_part_package(role, f"far_{role}", folder) for role in ROLES]
    options = ["--no-deps", "--no-build-isolation", "--no-compile", "--no-index", "-q"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site"]
    subprocess.run([*command, *packages], check=True)
    return folder / "site"


def write_space(folder: Path) -> Path:
    """A grid of our and their encoders and losses."""
    recipe = tiny_recipe(tiny_corpus(folder, clips=24), folder / "stores").model_dump(mode="json")
    recipe["model"]["encoder"] = {"kind": "linear"}
    recipe["evaluation"] |= {"extra_metrics": [{"kind": "far_metric"}]}
    recipe["training"] |= {"eval_steps": 2, "max_steps": 4}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    space = {
        "question": "Are their parts better?",
        "recipe": "recipe.yaml",
        "metric": {"name": "far_metric", "mode": "max"},
        "search": {"kind": "grid", "seed": 0},
        "pruner": {"kind": "none"},
        "finalists": {"count": 1, "seeds": [1, 2]},
        "baseline": False,
        "sanity_baselines": ["constant"],
        "resources": {"workers": 1, "cpus": 1, "gpus": 0},
        "parameters": {
            "model.encoder.kind": {"choices": ["linear", "far_encoder"]},
            "training.loss.kind": {"choices": ["cross_entropy", "far_loss"]},
        },
    }
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    return folder / "space.yaml"


def run_sweep(space: Path) -> None:
    """Run a sweep in a process with a Ray of its own, whose workers have the packages.

    The Ray of this process is shared with other tests, and has workers without them.
    """
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "kinesweep", "sweep", str(space), "--name", "theirs"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def translate(bundle: Path, files: list[str], path: str) -> subprocess.CompletedProcess[str]:
    """Translate files in a fresh process with some folders on its path."""
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", TRANSLATE, str(bundle), *files]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_their_encoder_and_loss_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = os.environ["PYTHONPATH"]
    site = install_packages(tmp_path)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{without}")
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    space = write_space(tmp_path)
    run_sweep(space)
    folder, bundle = tmp_path / "home/sweeps/theirs", tmp_path / "home/exports/theirs"
    trials = build_trials(read_journal(folder))
    assert {trial.state for trial in trials} == {"finished"}
    assert all("far_metric" in trial.scores for trial in trials)
    values = [trial.values for trial in trials]
    kinds = {(one["model.encoder.kind"], one["training.loss.kind"]) for one in values}
    assert len(kinds) == 4
    # Whichever wins was scored by their metric.
    parts = {part["kind"] for part in json.loads((bundle / "manifest.json").read_text())["parts"]}
    assert "far_metric" in parts
    files = [str(path) for path in sorted((tmp_path / "corpus").rglob("*.pose"))[:3]]
    missing = translate(bundle, files, without)
    assert missing.returncode == 1 and "BundleError" in missing.stderr
    assert "far-metric==0.1.0" in missing.stderr
    found = translate(bundle, files, os.environ["PYTHONPATH"])
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1]) == ks.load_bundle(bundle).translate(files)
