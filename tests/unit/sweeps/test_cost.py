"""What the search itself costs, and that it hardly grows; `test_overhead.py` has the whole."""

import os
import time
from pathlib import Path
from statistics import quantiles

import pytest

from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.search.ask_tell import RunEnd
from spaces import load, search

pytestmark = pytest.mark.integration

TRIALS, OBJECTIVE_S = 500, 0.05


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_500_trials_of_50_ms(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In CPU time and with the objective: the last hundred take at most 1.2 times the first."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # it waits for the disk, and no CPU
    parameters = {"training.learning_rate": {"log": [1e-6, 1.0]}}
    space, recipe = load(tmp_path, search={"kind": kind, "trials": TRIALS}, parameters=parameters)
    journal = Journal(tmp_path / "sweep")
    journal.start_session("cost", "?")
    policy = search(space, recipe, journal)
    running, spent_s = [policy.propose()], []
    while running:
        began = time.process_time()
        running += [request for request in [policy.propose()] if request is not None]
        policy.tell(running.pop(0).key, RunEnd("finished", {"bleu": 1.0}))
        spent_s.append(time.process_time() - began)
    assert [trial.state for trial in journal.trials] == ["finished"] * TRIALS
    first, last = (quantiles(own, n=4)[0] for own in (spent_s[2:102], spent_s[-100:]))
    print(f"{kind}: {1e3 * first:.1f} ms a trial, then {1e3 * last:.1f}")
    assert OBJECTIVE_S + last <= 1.2 * (OBJECTIVE_S + first)
