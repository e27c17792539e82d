"""A sweep of short trials beside the same trials as commands in a row.

The commands are `kinesweep train --no-ray` with the settings that the sweep drew, which is their
quickest form, one for each run of the sweep: its trials and the two runs of its finalist. All use
the features of one store. That the sweep starts and ends Ray and ranks counts against it.

    python tests/benchmarks/short_trials.py --trials 12 --rounds 3
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from corpus import tiny_corpus, tiny_recipe
from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.core.io import write_text
from kinesweep.store.extraction.build import extract_locally

_RATE = "training.learning_rate"
_SEEDS = (1, 2)


def write_space(root: Path, trials: int) -> None:
    """Write the recipe and the search space, and extract the features."""
    recipe = tiny_recipe(tiny_corpus(root), root / "stores")
    extract_locally(recipe)
    write_text(root / "recipe.yaml", format_recipe_yaml(recipe))
    space: dict[str, Any] = {
        "question": "Which rate?",
        "recipe": "recipe.yaml",
        "metric": {"name": "bleu", "mode": "max"},
        "search": {"kind": "random", "trials": trials, "seed": 0},
        "pruner": {"kind": "none"},
        "finalists": {"count": 1, "seeds": list(_SEEDS)},
        "baseline": False,
        "sanity_baselines": [],
        "resources": {"workers": 1, "cpus": 1, "gpus": 0},
        "parameters": {_RATE: {"log": [1e-4, 1e-2]}},
    }
    write_text(root / "space.yaml", yaml.safe_dump(space))


def time_sweep(root: Path, name: str) -> tuple[float, list[float]]:
    """Run the sweep; returns its seconds and the learning rates of its trials."""
    started = time.perf_counter()
    _run(root, "sweep", str(root / "space.yaml"), "--name", name)
    seconds = time.perf_counter() - started
    journal = (root / "sweeps" / name / "journal.jsonl").read_text(encoding="utf-8")
    events = [json.loads(line) for line in journal.splitlines()]
    return seconds, [each["values"][_RATE] for each in events if each["event"] == "trial_created"]


def time_commands(root: Path, folder: Path, rates: list[float]) -> float:
    """Run each trial and each final as a command of its own; returns the seconds of all."""
    started = time.perf_counter()
    # A final costs the same at every rate.
    for index, rate in enumerate([*rates, *rates[: len(_SEEDS)]]):
        run = str(folder / f"run-{index}")
        recipe = str(root / "recipe.yaml")
        _run(root, "train", recipe, f"{_RATE}={rate}", "--no-ray", "--folder", run)
    return time.perf_counter() - started


def _run(root: Path, *arguments: str) -> None:
    """Run a command of Kinesweep."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "KINESWEEP_HOME": str(root)}
    command = [sys.executable, "-m", "kinesweep", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"`kinesweep {' '.join(arguments)}` failed:\n{done.stderr[-2000:]}")


def main() -> None:
    """Print a line of JSON for each round and one with the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12, help="number of trials")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    args = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_space(root, args.trials)
        for number in range(args.rounds):
            sweep_seconds, rates = time_sweep(root, f"sweep-{number}")
            command_seconds = time_commands(root, root / f"commands-{number}", rates)
            ratios.append(command_seconds / sweep_seconds)
            line = {"sweep_s": sweep_seconds, "commands_s": command_seconds, "ratio": ratios[-1]}
            print(json.dumps({name: round(value, 2) for name, value in line.items()}), flush=True)
    print(json.dumps({"trials": args.trials, "median_ratio": round(statistics.median(ratios), 2)}))


if __name__ == "__main__":
    main()
