"""Sweeps on the tiny corpus, for tests on a real cluster."""

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.store import Store
from kinesweep.store.format.reader import open_store
from kinesweep.sweeps.feature_stores import FeatureStores
from kinesweep.sweeps.job_factory import JobFactory
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.results.outcome_file import write_sweep_outcome
from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest, SweepPolicy
from kinesweep.sweeps.search.budget import Budget
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.sweep import Sweep, run_sweep
from kinesweep.training.loop.run import train_run

RATE = "training.learning_rate"


class TimedLog(NullRunLogger):
    """Notes when a run trained its steps and where; each line `{"step", "time", "pid", "node"}`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """One line."""
        self._note({"step": step})

    def finish(self, status: str) -> None:
        """The last one."""
        self._note({"finish": status, "bytes": psutil.Process().memory_info().rss})

    def _note(self, what: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            own = {"time": time.time(), "pid": os.getpid(), "node": _node()}
            file.write(json.dumps({**what, **own}) + "\n")


def _node() -> str:
    """Ray's name of the node that this process is on; empty without Ray."""
    import ray

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""


class KilledLog(TimedLog):
    """Kills its process with the first metrics of a run, as a system without memory would."""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Notes the step and kills."""
        super().log_metrics(values, step)
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class OpenTimed:
    """Opens it beside the run's folder."""

    folder: Path

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        self.folder.mkdir(parents=True, exist_ok=True)
        return TimedLog(self.folder / f"{folder.name}.jsonl")


@dataclass(frozen=True)
class Lab:
    """A tiny recipe with its features."""

    recipe: Recipe
    store: Store

    @property
    def stores(self) -> FeatureStores:
        """The same as a sweep takes it."""
        return FeatureStores.from_store(self.recipe.features, self.store)

    def space(self, **changes: Any) -> SearchSpace:
        """A space over the learning rate."""
        plain = {
            "question": "Which rate?",
            "recipe": "tiny.yaml",
            "search": {"kind": "random", "trials": 4, "seed": 0},
            "pruner": {"kind": "none"},
            "parameters": {RATE: {"log": [1e-4, 1e-2]}},
            **changes,
        }
        return validate_config(SearchSpace, plain, "the tiny space")

    def search(self, space: SearchSpace, journal: Journal) -> SearchPolicy:
        """The policy of its search."""
        facts = SearchContext(
            recipe=self.recipe,
            compute_config_hash=lambda recipe: recipe.compute_config_hash(self.store.fingerprint),
            samples_per_eval=32.0,
            budget=Budget(space.budget, space.resources, 2, 0),
        )
        return SearchPolicy(space, facts, journal)

    def make_job(self, folder: Path) -> JobFactory:
        """How requests become runs in a folder."""
        return JobFactory(self.recipe, self.stores, folder, OpenTimed(folder / "times"))


def make_lab(folder: Path, **changes: Any) -> Lab:
    """Writes the corpus and its features."""
    training = {"logging_steps": 1, **changes.pop("training", {})}
    recipe = tiny_recipe(tiny_corpus(folder), folder / "stores", training=training, **changes)
    return Lab(recipe, tiny_store(recipe))


class Here:
    """Drives policies in this process, one run after the other; for `Sweep.open_runner`."""

    num_slots = 1

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run_policy(self, policy: SweepPolicy, build_job: JobFactory) -> None:
        """Runs one to its end."""
        while not policy.is_finished:
            request = policy.propose()
            if request is None:
                assert policy.is_finished, "nothing runs, and nothing is proposed"
                return
            policy.tell(request.key, self.train(policy, request, build_job))

    def train(self, policy: SweepPolicy, request: RunRequest, build_job: JobFactory) -> RunEnd:
        """One run."""
        return _train(policy, request, build_job)


def _train(policy: SweepPolicy, request: RunRequest, make_job: JobFactory) -> RunEnd:
    """One run."""
    task, began = make_job(request).build_task(), time.monotonic()
    result = train_run(
        task.unpack_spec(),
        task.open_run_logger(),
        lambda told: policy.report_evaluation(request.key, told),
    )
    seconds = time.monotonic() - began
    if result.status == "finished":
        return RunEnd("finished", result.objective_values, seconds=seconds)
    state: Any = "pruned" if result.reason == "reported" else "failed"
    return RunEnd(state, {}, result.reason if state == "failed" else "", seconds)


def times(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Run → what its log noted."""
    return {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted((folder / "times").glob("*.jsonl"))
    }


def assert_trained_once(rows: list[dict[str, Any]], steps: int, eval_steps: int) -> None:
    """One process at a time; each goes on at the last checkpoint; none after the end.

    The checkpoint of the last evaluation counts only if it was written before the kill; the one
    before was, because an evaluation waits for it before it is reported.
    """
    ends = [index for index, row in enumerate(rows) if row.get("finish") == "finished"]
    assert ends
    assert all("step" not in row for row in rows[ends[0] :])
    done = 0
    for _, group in itertools.groupby(rows, lambda row: row["pid"]):
        trained = [row["step"] for row in group if "step" in row]
        if trained:
            assert done - 2 * eval_steps <= trained[0] - 1 <= done
            done = trained[-1]
    assert done == steps


def run_whole(folder: Path, recipe: Path, space: Path) -> None:
    """A sweep, or what is left of it, on the cluster that `RAY_ADDRESS` names; writes its result.

    Run as a process of its own: `python -m sweeping FOLDER RECIPE SPACE`.
    """
    import ray

    ray.init(log_to_driver=False)
    made = Recipe.model_validate_json(recipe.read_text())
    store = open_store(json.loads(space.with_suffix(".store").read_text()))
    asked = SearchSpace.model_validate_json(space.read_text())
    log = OpenTimed(folder / "times")
    write_sweep_outcome(
        folder,
        run_sweep(
            Sweep(asked, made, FeatureStores.from_store(made.features, store), folder, log, print)
        ),
    )


if __name__ == "__main__":
    run_whole(*map(Path, sys.argv[1:]))
