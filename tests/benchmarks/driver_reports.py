"""What a report costs the driver of a sweep: mock slots, real policy, journal and run folders.

The slots report in turn, so many at a time as there are slots; ended runs leave a folder with the
files of a run. Measured is `SearchPolicy.report_evaluation`, with its journal line forced to disk,
its pruner and its budget. Proposals of new trials are timed apart, because they include Optuna.

    PYTHONPATH=platform:tests python tests/benchmarks/driver_reports.py --runs 1000 --slots 512
"""

import argparse
import json
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from kinesweep.core.paths import compute_directory_size
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.journal.run_folders import RUNS, format_run_name
from kinesweep.sweeps.run_storage import compute_model_bytes
from kinesweep.sweeps.search.ask_tell import RunEnd
from kinesweep.sweeps.search.budget import Budget
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from spaces import RATE, SAMPLES, load

# Files of an ended run: result, metrics, predictions, and the model with its tokenizer.
_RUN_FILES = ("run.json", "result.json", "metrics.jsonl", "predictions/validation.tsv")
_MODEL_FILES = ("config.json", "model.safetensors", "recipe.yaml", "tokenizer.model")


def build_policy(folder: Path, runs: int, slots: int, pruner: str) -> SearchPolicy:
    """Build the policy of a random search over a journal in a folder."""
    space, recipe = load(
        folder,
        search={"kind": "random", "trials": runs},
        pruner={"kind": pruner},
        parameters={RATE: {"log": [1e-6, 1.0]}},
        budget={"hours": 1e6},
    )
    budget = Budget(space.budget, space.resources, slots, 6)
    context = SearchContext(
        recipe=recipe,
        compute_config_hash=lambda tuned: tuned.compute_config_hash("store"),
        samples_per_eval=SAMPLES,
        budget=budget,
        compute_disk_bytes=lambda: compute_directory_size(folder / RUNS),
        compute_model_bytes=lambda: compute_model_bytes(folder),
    )
    journal = Journal(folder)
    journal.start_session("benchmark", "?")
    return SearchPolicy(space, context, journal)


def write_run_folder(folder: Path) -> None:
    """Write the files of an ended run, a few bytes each."""
    for name in (*_RUN_FILES, *(f"best/{name}" for name in _MODEL_FILES)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0" * 100)


def simulate(policy: SearchPolicy, folder: Path, slots: int, reports: int) -> dict[str, Any]:
    """Drive the policy to its end; returns the seconds of each report and of each proposal."""
    rng = np.random.default_rng(0)
    report_seconds: list[float] = []
    propose_seconds: list[float] = []
    running: deque[tuple[str, int]] = deque()
    while True:
        while len(running) < slots:
            started = time.perf_counter()
            request = policy.propose()
            propose_seconds.append(time.perf_counter() - started)
            if request is None:
                break
            running.append((request.key, 0))
        if not running:
            return {"reports": report_seconds, "proposals": propose_seconds}
        key, step = running.popleft()
        step += 1
        evaluation = {"step": step, "samples": step * SAMPLES, "token_loss": 9.0 - rng.random()}
        started = time.perf_counter()
        goes_on = policy.report_evaluation(key, evaluation)
        report_seconds.append(time.perf_counter() - started)
        if goes_on and step < reports:
            running.append((key, step))
            continue
        trial = policy.journal.get_trial(int(key.removeprefix("trial ")))
        write_run_folder(folder / RUNS / format_run_name(trial.config_hash, 0))
        state = "finished" if goes_on else "pruned"
        policy.tell(key, RunEnd(state, {"bleu": 1.0, "token_loss": 1.0}, seconds=60.0))


def summarize(seconds: list[float]) -> dict[str, float]:
    """Summarize durations in milliseconds; `drift` compares the last tenth with the first."""
    values = 1000 * np.array(seconds)
    tenth = max(1, len(values) // 10)
    return {
        "count": len(values),
        **{f"p{q}_ms": round(float(np.percentile(values, q)), 3) for q in (50, 90, 99)},
        "max_ms": round(float(values.max()), 3),
        "drift": round(float(np.median(values[-tenth:]) / np.median(values[:tenth])), 3),
    }


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="number of trials")
    parser.add_argument("--slots", type=int, default=512, help="trials at a time")
    parser.add_argument("--reports", type=int, default=50, help="evaluations of a trial")
    parser.add_argument("--pruner", default="none", choices=["none", "asha", "median"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policy = build_policy(folder, args.runs, args.slots, args.pruner)
        seconds = simulate(policy, folder, args.slots, args.reports)
        policy.journal.close()
    print(json.dumps({key: summarize(values) for key, values in seconds.items()}))


if __name__ == "__main__":
    main()
