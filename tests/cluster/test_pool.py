"""Warm slots on a real cluster: nothing leaks, nothing is trained twice, a used worker is new."""

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.state import list_actors

from kinesweep.checkpoints.model_dir import read_recipe
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.sweeps.job_factory import JobFactory
from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.search.ask_tell import RunRequest
from kinesweep.sweeps.workers.tune_runner import TrainingJob, TuneRunner
from kinesweep.training.distributed.ray_train import train_on_ray
from kinesweep.training.loop.run import train_run
from kinesweep.training.run_records.result import RunResult, RunSpec, read_run_result
from sweeping import Lab, assert_trained_once, make_lab, times

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]
KILLS = int(os.environ.get("KINESWEEP_KILLS", "2"))
"""Of each kind, where kinds have sweeps of their own; `make soak` asks for five."""
TARGETS = {
    "trial": "with_resources.<locals>.ResourceTrainable",
    "worker": "RayTrainWorker",
    "slot": "SlotActor",
}
OURS = (*TARGETS.values(), "TrainController")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Runs of half a second."""
    return make_lab(tmp_path_factory.mktemp("lab"), training={"max_steps": 40, "eval_steps": 10})


def search(lab: Lab, folder: Path, workers: int = 1, **space: Any) -> Journal:
    """A search on the cluster."""
    made = lab.space(resources={"workers": workers}, **space)
    journal = Journal(folder)
    journal.start_session("lab", "?")
    with TuneRunner(made.resources, folder / "tune") as running:
        running.run_policy(lab.search(made, journal), lab.make_job(folder))
    return journal


def job_of(lab: Lab, folder: Path, trial: Trial) -> TrainingJob:
    """What a trial trained."""
    return lab.make_job(folder)(RunRequest("", trial.values, 0, "search"))


def result_of(lab: Lab, folder: Path, trial: Trial) -> RunResult:
    """What came of it."""
    result = read_run_result(job_of(lab, folder, trial).folder)
    assert result is not None
    return result


def registered(name: str) -> int:
    """Actors of a class that were ever asked for."""
    return len(list_actors(filters=[("class_name", "=", name)], limit=10_000))


def alive(name: str) -> int:
    """Actors of a class."""
    return len(list_actors(filters=[("class_name", "=", name), ("state", "=", "ALIVE")]))


def held() -> list[str]:
    """What a cluster at rest must not have, once Ray has tidied up."""
    for _ in range(60):
        groups = [g for g in ray.util.placement_group_table().values() if g["state"] != "REMOVED"]
        found = [f"placement group {g['state']}" for g in groups]
        if (free := ray.available_resources().get("CPU", 0.0)) != 2:
            found.append(f"{2 - free} CPU")
        found += [name for name in OURS if alive(name)]
        if not found:
            return []
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def pruned(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, cluster: None
) -> tuple[Path, Journal]:
    """A search in two slots of one worker, most of whose trials were pruned."""
    folder = tmp_path_factory.mktemp("pruned")
    scheduler = {"kind": "asha", "grace_period": 1, "reduction_factor": 4}
    made = {"search": {"kind": "random", "trials": 40}, "pruner": scheduler}
    before = registered(TARGETS["trial"])
    journal = search(lab, folder, **made)
    assert registered(TARGETS["trial"]) - before == 2, "trials took actors away from each other"
    return folder, journal


def test_pruned_trials_leave_nothing(pruned: tuple[Path, Journal]) -> None:
    folder, journal = pruned
    states = [trial.state for trial in journal.trials]
    assert states.count("pruned") >= 12
    assert set(states) == {"pruned", "finished"}
    assert held() == []
    said = [rows[-1]["finish"] for rows in times(folder).values()]
    assert said.count("pruned") == states.count("pruned")


def test_a_used_worker_is_as_good_as_new(
    lab: Lab, pruned: tuple[Path, Journal], tmp_path: Path
) -> None:
    """And Ray changes no bit: the same run in this process has the same weights and scores."""
    fresh = assert_as_good_as_new(lab, *pruned, tmp_path / "fresh")
    recipe = read_recipe(fresh.folder / "best")
    spec = RunSpec(recipe, lab.store.folder, tmp_path / "here", full_decoding=False)
    alone = train_run(spec, NullRunLogger(), lambda _: True)
    assert alone.weights_sha256 == fresh.weights_sha256
    assert alone.scores == fresh.scores
    notes = [(folder / "metrics.jsonl").read_text() for folder in (fresh.folder, alone.folder)]
    assert notes[0] == notes[1]


def test_two_used_workers_are_as_good_as_new(lab: Lab, tmp_path: Path) -> None:
    """So two workers repeat."""
    scheduler = {"kind": "median", "grace_period": 1}
    made = {"search": {"kind": "random", "trials": 10}, "pruner": scheduler}
    journal = search(lab, tmp_path / "warm", 2, **made)
    assert_as_good_as_new(lab, tmp_path / "warm", journal, tmp_path / "fresh", workers=2)


def assert_as_good_as_new(
    lab: Lab, sweep: Path, journal: Journal, folder: Path, workers: int = 1
) -> RunResult:
    """Compare a run with the same one in new processes. Returns the latter.

    After five others, some of them pruned, a run has the bits of one in new processes. Between two
    runs of a slot no process is started, whatever else the machine does; `make bench` has seconds.
    """
    trial = [trial for trial in journal.trials if trial.state == "finished"][-1]
    job = job_of(lab, sweep, trial)
    notes = times(sweep)
    mine = notes[job.folder.name][0]
    slots = 2 // workers
    assert len({row["pid"] for rows in notes.values() for row in rows}) == slots
    before = [rows for rows in notes.values() if rows[0]["pid"] == mine["pid"]]
    before = [rows for rows in before if rows[0]["time"] < mine["time"]]
    assert len(before) >= 5
    assert any(rows[-1]["finish"] == "pruned" for rows in before)
    recipe = job.recipe.model_copy(
        update={"resources": job.recipe.resources.model_copy(update={"workers": workers})}
    )
    fresh = train_on_ray(RunSpec(recipe, lab.store.folder, folder, full_decoding=False))
    warm = result_of(lab, sweep, trial)
    assert warm.weights_sha256 == fresh.weights_sha256 != ""
    assert warm.scores == fresh.scores
    return fresh


@dataclass(frozen=True)
class RaisingOnce:
    """Opens a run's log; the first time it raises."""

    marker: Path

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """See `sweep.RunLoggerFactory`."""
        if not self.marker.exists():
            self.marker.touch()
            raise RuntimeError("no log today")
        return NullRunLogger()


def test_what_a_run_raises_fails_it_at_once(lab: Lab, tmp_path: Path) -> None:
    """It would raise it again: no second try, and the next run finds new workers."""
    space = lab.space(search={"kind": "random", "trials": 2}, resources={"workers": 1, "cpus": 2})
    journal = Journal(tmp_path)
    journal.start_session("lab", "?")
    make_job = JobFactory(lab.recipe, lab.stores, tmp_path, RaisingOnce(tmp_path / "raised"))
    with TuneRunner(space.resources, tmp_path / "tune") as running:
        running.run_policy(lab.search(space, journal), make_job)
    assert [(t.state, t.num_deaths) for t in journal.trials] == [("failed", 0), ("finished", 0)]
    assert journal.trials[0].reason == "RuntimeError: no log today"
    assert held() == []


@pytest.mark.proof  # `test_kills.py` is the short form: one sweep, one actor of each class
@pytest.mark.parametrize("target", TARGETS)
def test_kills(tmp_path: Path, target: str) -> None:
    assert_survived(tmp_path, [target] * KILLS)


def assert_survived(tmp_path: Path, targets: list[str]) -> None:
    """At random moments: each run is trained once, and ends as if nothing had happened."""
    journal_folder = tmp_path / "sweep"
    slow = make_lab(tmp_path, training={"max_steps": 300, "eval_steps": 20})
    trials = 2 + 2 * len(targets)
    over, left = threading.Event(), [TARGETS[target] for target in targets]
    args = (left, journal_folder, random.Random("".join(targets)), over)
    killer = threading.Thread(target=kill, args=args)
    killer.start()
    journal = search(slow, journal_folder, search={"kind": "random", "trials": trials})
    over.set()
    killer.join()
    assert left == []
    assert [trial.state for trial in journal.trials] == ["finished"] * trials
    for trial in journal.trials:
        job = job_of(slow, journal_folder, trial)
        spec = RunSpec(job.recipe, job.store, tmp_path / "alone" / str(trial.number))
        alone = train_run(spec, NullRunLogger(), lambda _: True)
        assert result_of(slow, journal_folder, trial).weights_sha256 == alone.weights_sha256
    for rows in times(journal_folder).values():
        assert_trained_once(rows, steps=300, eval_steps=20)
    assert held() == []


def kill(left: list[str], folder: Path, rng: random.Random, over: threading.Event) -> None:
    """Kills an actor of each class: the first while all is starting, the others between steps."""
    noted = -1
    while left and not over.wait(rng.uniform(0.0, 4.0)):
        if sum(map(len, times(folder).values())) <= noted:
            continue
        noted = sum(map(len, times(folder).values()))
        actors = list_actors(filters=[("class_name", "=", left[0]), ("state", "=", "ALIVE")])
        if actors:
            os.kill(rng.choice(actors).pid, signal.SIGKILL)
            del left[0]


def test_memory_stays(pruned: tuple[Path, Journal]) -> None:
    """Of each worker, over some 20 runs, most of them pruned."""
    assert_memory_stays(pruned[0], runs=15)


@pytest.mark.proof
def test_memory_stays_over_many_runs(tmp_path: Path) -> None:
    """Of each worker, over 50 further runs."""
    made = {"search": {"kind": "random", "trials": 110}}
    short = make_lab(tmp_path, training={"max_steps": 4, "eval_steps": 4})
    search(short, tmp_path / "sweep", **made)
    assert_memory_stays(tmp_path / "sweep", runs=50)


def assert_memory_stays(sweep: Path, runs: int) -> None:
    """The largest size after the first five runs is at most a tenth above the largest of those."""
    ends = sorted(
        (rows[-1]["pid"], rows[-1]["time"], rows[-1]["bytes"]) for rows in times(sweep).values()
    )
    for _, group in itertools.groupby(ends, lambda end: end[0]):
        grown = [size for _, _, size in group]
        assert len(grown) >= runs
        assert max(grown[5:]) <= 1.10 * max(grown[:5])
