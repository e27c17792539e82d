"""A sweep whose processes are killed ends as one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from ray.util.state import list_actors

import sweeping
import worker_server
from kinesweep.sweeps.journal.journal import build_trials, read_journal
from kinesweep.sweeps.results.outcome_file import write_sweep_outcome
from kinesweep.sweeps.study.storage import STUDY_FILE
from kinesweep.sweeps.sweep import Sweep, run_sweep
from sweeping import assert_trained_once, make_lab, times

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]
KILLS = int(os.environ.get("KINESWEEP_KILLS", "1"))
"""`make soak` asks for five."""
STEPS, EVAL_STEPS, TRIALS = 80, 20, 4
ACTORS = (
    "RayTrainWorker",
    "with_resources.<locals>.ResourceTrainable",  # a trial, as Tune wraps it
    "SlotActor",
)
"""Classes of the actors that are killed one after the other."""
PLAN: dict[str, Any] = {
    "search": {"kind": "random", "trials": TRIALS},
    "finalists": {"count": 2, "seeds": [1, 2]},
    "baseline": False,
    "sanity_baselines": [],
}


@dataclass(frozen=True)
class Lab:
    """What `sweep.run_whole` reads."""

    made: sweeping.Lab
    recipe: Path
    space: Path

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        """The sweep's driver, in a process group of its own."""
        command = [sys.executable, "-m", "sweeping", str(folder), str(self.recipe), str(self.space)]
        return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)

    def finish(self, folder: Path) -> dict[str, Any]:
        """Goes on to the end. Returns the result."""
        assert self.start(folder).wait(800) == 0
        return dict(json.loads((folder / "result.json").read_text()))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    made = make_lab(folder, training={"max_steps": STEPS, "eval_steps": EVAL_STEPS})
    recipe, space = folder / "recipe.json", folder / "space.json"
    recipe.write_text(made.recipe.model_dump_json())
    space.write_text(made.space(**PLAN).model_dump_json(by_alias=True))
    space.with_suffix(".store").write_text(json.dumps(str(made.store.folder)))
    return Lab(made, recipe, space)


@pytest.fixture(scope="module")
def undisturbed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same sweep in this process, without Ray, which changes no bit (`test_pool.py`)."""
    folder = tmp_path_factory.mktemp("undisturbed") / "sweep"
    space = lab.made.space(**PLAN)
    log = sweeping.OpenTimed(folder / "times")
    sweep = Sweep(
        space, lab.made.recipe, lab.made.stores, folder, log, print, open_runner=sweeping.Here
    )
    write_sweep_outcome(folder, run_sweep(sweep))
    assert_all_ended_once(folder)
    return dict(json.loads((folder / "result.json").read_text()))


def assert_all_ended_once(folder: Path) -> None:
    """Everything ended once, and was trained once."""
    events = read_journal(folder)
    created = [e["trial"] for e in events if e["event"] == "trial_created"]
    ended = [(e["trial"], e["state"]) for e in events if e["event"] == "trial_ended"]
    assert sorted(set(created)) == list(range(TRIALS))
    assert sorted(ended) == [(trial, "finished") for trial in range(TRIALS)]
    finals = [e["run"] for e in events if e["event"] == "run_finished"]
    assert len(finals) == len(set(finals)) == 4
    assert_study_is_whole(folder)
    notes = times(folder)
    assert len(notes) == TRIALS + 4
    for rows in notes.values():
        assert_trained_once(rows, STEPS, EVAL_STEPS)


def assert_study_is_whole(folder: Path) -> None:
    """Optuna finds each trial once, and the best one of the journal."""
    trials = build_trials(read_journal(folder))
    backend = optuna.storages.journal.JournalFileBackend(str(folder / STUDY_FILE))
    study = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))
    assert [trial.number for trial in study.trials] == list(range(TRIALS))
    assert [trial.values for trial in study.trials] == [[t.scores["bleu"]] for t in trials]
    best = max(trials, key=lambda trial: (trial.scores["bleu"], -trial.number))
    assert (study.best_trial.number, study.best_trial.params) == (best.number, best.values)


def assert_like_undisturbed(
    folder: Path, found: dict[str, Any], undisturbed: dict[str, Any]
) -> None:
    """The result is that of the undisturbed sweep."""
    assert_all_ended_once(folder)
    assert found["ranking"] == undisturbed["ranking"]
    assert found["winner_values"] == undisturbed["winner_values"]
    assert found["trials"] == undisturbed["trials"]


def test_the_driver_is_killed(lab: Lab, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """In search and, with `make soak`, in the finals; then the same command again."""
    rng = random.Random("driver")
    for number in range(KILLS):
        driver = lab.start(tmp_path / "sweep")
        # Each time a little later: there is more to lose.
        wait_for_work(driver, tmp_path / "sweep")
        time.sleep(rng.uniform(0.0, 3.0 + number))
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert_like_undisturbed(tmp_path / "sweep", lab.finish(tmp_path / "sweep"), undisturbed)


def wait_for_work(driver: subprocess.Popen[bytes], folder: Path) -> None:
    """Until a run notes another step than those before."""
    before = sum(map(len, times(folder).values()))
    while driver.poll() is None and sum(map(len, times(folder).values())) == before:
        time.sleep(0.2)


def kill_an_actor(class_name: str, rng: random.Random) -> bool:
    """Kill the process of one actor of a class. Returns whether there was one."""
    alive = list_actors(filters=[("class_name", "=", class_name), ("state", "=", "ALIVE")])
    if alive:
        os.kill(rng.choice(alive).pid, signal.SIGKILL)
    return bool(alive)


@pytest.fixture
def node() -> Iterator["Node"]:
    started = Node()
    yield started
    if started.process.poll() is None:
        started.kill()


# `ray start` refuses to join a cluster that lives on loopback alone.
JOIN = """
import sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams
place = {"gcs_address": sys.argv[1], "node_ip_address": "127.0.0.1"}
Node(RayParams(num_cpus=1, **place), head=False, spawn_reaper=False)
time.sleep(3600)
"""


class Node:
    """A second raylet with a core; killed and started again."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Joins the cluster."""
        command = [sys.executable, "-c", JOIN, os.environ["RAY_ADDRESS"]]
        # Its workers must be processes of its own, or they would outlive it for a moment.
        env = {k: v for k, v in os.environ.items() if k != worker_server.VARIABLE}
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """SIGKILL for all processes of the node."""
        assert self.process.poll() is None, "the node was not running"
        for process in psutil.Process(self.process.pid).children(recursive=True):
            process.kill()
        self.process.kill()
        self.process.wait()

    @property
    def joined(self) -> bool:
        """Whether the cluster knows it."""
        import ray

        assert self.process.poll() is None
        return len([n for n in ray.nodes() if n["Alive"]]) == 2

    def kill_and_start(self) -> bool:
        """Returns whether it was there to be killed."""
        if not self.joined:
            return False
        self.kill()
        self.start()
        return True


def test_actors_and_a_node_are_killed(
    lab: Lab, undisturbed: dict[str, Any], tmp_path: Path, node: Node
) -> None:
    """At random moments of a sweep, and of further ones if it is too short; the node comes back."""
    rng = random.Random("worker")
    kills = [partial(kill_an_actor, name, rng) for name in ACTORS]
    kills = [*kills, node.kill_and_start] * KILLS
    while not node.joined:
        time.sleep(0.2)
    while kills:
        place = tmp_path / f"{len(kills)} left"
        driver = lab.start(place)
        while kills and driver.poll() is None:
            wait_for_work(driver, place)
            time.sleep(rng.uniform(0.0, 1.0))
            if driver.poll() is None and kills[0]():
                del kills[0]
        assert driver.wait(800) == 0
        assert_like_undisturbed(place, json.loads((place / "result.json").read_text()), undisturbed)
