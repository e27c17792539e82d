"""What our runner costs beside the trials, and that it does not cost more as they become many.

Its short form is `tests/unit/sweeps/test_cost.py`, without Ray and without a clock on the wall.
"""

import os
import time
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import pytest
from ray import tune

from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.search.ask_tell import RunEnd
from kinesweep.sweeps.workers.tune_runner import run_on_tune
from spaces import load, search

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("cluster")]
TRIALS, OBJECTIVE_S, SLOTS = 500, 0.05, 2
ALL = "all started"


class Short(tune.Trainable):  # type: ignore[misc]
    """An objective of 50 ms, once all slots are there; see `start_barrier`."""

    def setup(self, config: dict[str, Any], folder: Path) -> None:
        """See `tune.Trainable`."""
        self._folder = folder
        (folder / str(os.getpid())).touch()

    def step(self) -> dict[str, Any]:
        """All of it."""
        until = time.monotonic() + 120
        while not (self._folder / ALL).exists() and time.monotonic() < until:
            time.sleep(OBJECTIVE_S)
        time.sleep(OBJECTIVE_S)
        return {"ended": "result", "finished": True, "reason": "", "score/bleu": 1.0, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next one."""
        return True


class Watched:
    """An policy with a clock and the driver's memory beside it."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self.ends: list[tuple[float, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def tell(self, key: str, end: RunEnd) -> None:
        """Notes it."""
        self._policy.tell(key, end)
        self.ends.append((time.perf_counter(), psutil.Process().memory_info().rss))


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_500_trials(tmp_path: Path, kind: str) -> None:
    """A single measurement; other load of the machine is in it."""
    spent, memory = first_and_last(tmp_path, kind)
    print(f"{kind}: {spent[0]:.4f} s a trial, then {spent[1]:.4f}; {memory[0]} B, {memory[1]} B")
    assert memory[1] <= 1.2 * memory[0]
    assert spent[1] <= 1.2 * spent[0]


def first_and_last(folder: Path, kind: str) -> tuple[list[float], list[float]]:
    """Seconds a trial of the first and the last hundred, and the driver's bytes meanwhile."""
    parameters = {"training.learning_rate": {"log": [1e-6, 1.0]}}
    space, recipe = load(folder, search={"kind": kind, "trials": TRIALS}, parameters=parameters)
    journal = Journal(folder / "sweep")
    journal.start_session("overhead", "?")
    watched = Watched(search(space, recipe, journal))
    (folder / "slots").mkdir()
    trial = tune.with_parameters(Short, folder=folder / "slots")
    started = (folder / "slots" / ALL).touch
    run_on_tune(watched, trial, vars, SLOTS, folder / "tune", started)
    assert len(list((folder / "slots").iterdir())) == SLOTS + 1
    assert [trial.state for trial in journal.trials] == ["finished"] * TRIALS
    first, last = watched.ends[2:102], watched.ends[-100:]
    # Of two slots' ends each other one; the lower quartile, since other load only makes it slower.
    gaps = [[b - a for (a, _), (b, _) in pairwise(own[::2])] for own in (first, last)]
    memory = [median(size for _, size in own) for own in (first, last)]
    return [quantiles(own, n=4)[0] for own in gaps], memory
