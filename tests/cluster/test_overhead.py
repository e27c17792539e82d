"""What our runner costs beside the trials, and that it does not cost more as they become many."""

import time
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import pytest
from ray import tune

from kinesweep.sweeps.agenda import End
from kinesweep.sweeps.journal import Journal
from kinesweep.sweeps.runner import tune_agenda
from spaces import load, search

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]
TRIALS, OBJECTIVE_S = 500, 0.05


class Short(tune.Trainable):  # type: ignore[misc]
    """An objective of 50 ms."""

    def setup(self, config: dict[str, Any]) -> None:
        """See `tune.Trainable`."""

    def step(self) -> dict[str, Any]:
        """All of it."""
        time.sleep(OBJECTIVE_S)
        return {"ended": "result", "finished": True, "reason": "", "score/bleu": 1.0, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next one."""
        return True


class Watched:
    """An agenda with a clock and the driver's memory beside it."""

    def __init__(self, agenda: Any) -> None:
        self._agenda = agenda
        self.ends: list[tuple[float, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agenda, name)

    def end(self, key: str, end: End) -> None:
        """Notes it."""
        self._agenda.end(key, end)
        self.ends.append((time.perf_counter(), psutil.Process().memory_info().rss))


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_500_trials(tmp_path: Path, kind: str) -> None:
    parameters = {"training.learning_rate": {"log": [1e-6, 1.0]}}
    space, recipe = load(tmp_path, search={"kind": kind, "trials": TRIALS}, parameters=parameters)
    journal = Journal(tmp_path / "sweep")
    journal.begin("overhead", "?")
    watched = Watched(search(space, recipe, journal))
    tune_agenda(watched, Short, 2, tmp_path / "tune")
    assert [trial.state for trial in journal.trials] == ["finished"] * TRIALS
    first, last = watched.ends[2:102], watched.ends[-100:]
    # Of two slots' ends each other one; the lower quartile, since other load only makes it slower.
    gaps = [[b - a for (a, _), (b, _) in pairwise(own[::2])] for own in (first, last)]
    spent = [quantiles(own, n=4)[0] for own in gaps]
    memory = [median(size for _, size in own) for own in (first, last)]
    print(f"{kind}: {spent[0]:.4f} s a trial, then {spent[1]:.4f}; {memory[0]} B, {memory[1]} B")
    assert spent[1] <= 1.2 * spent[0]
    assert memory[1] <= 1.2 * memory[0]
