"""The journal: what stands in it has happened."""

import json
from pathlib import Path

import pytest

from kinesweep.core.errors import CheckpointError
from kinesweep.sweeps.journal.journal import Journal, read_journal, read_trials, worked_hours
from kinesweep.sweeps.planning.simulation import Clock


def test_it_survives_a_torn_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.begin("one", "?") is False
    journal.add("trial_created", trial=0, values={"a": 1}, config="c")
    ended = {"state": "finished", "scores": {"bleu": 3.5}, "reason": "", "seconds": 2.0}
    journal.add("trial_ended", trial=0, **ended)
    journal.add("trial_created", trial=1, values={"a": 2}, config="d")
    journal.close()
    assert journal.path is not None
    with journal.path.open("a") as file:
        file.write('{"event": "trial_ended", "tri')
    again = Journal(tmp_path)
    assert again.begin("one", "?") is True
    assert [(t.state, t.scores) for t in again.trials] == [
        ("finished", {"bleu": 3.5}),
        ("running", {}),
    ]
    again.add("trial_died", trial=1, reason="killed", seconds=1.0)
    again.add("trial_ended", trial=1, state="pruned", scores={}, reason="", seconds=4.0)
    again.close()
    assert (again.trial(1).deaths, again.trial(1).seconds) == (1, 5.0)
    assert [json.loads(line) for line in again.path.read_text().splitlines()] == again.events
    assert read_trials(read_journal(tmp_path)) == again.trials
    with pytest.raises(CheckpointError, match="another sweep"):
        Journal(tmp_path).begin("two", "?")


def test_pauses_between_drivers_cost_nothing() -> None:
    clock = Clock()
    journal = Journal(None, clock)
    journal.begin("one", "?")
    clock.now = 3600
    journal.add("search_started", trials=1)
    clock.now = 10 * 3600
    journal.begin("one", "?")
    clock.now = 12 * 3600
    assert journal.hours() == pytest.approx(3.0)
    journal.add("search_started", trials=1)
    assert worked_hours(journal.events) == pytest.approx(3.0)


def test_a_foreign_event_is_an_error() -> None:
    journal = Journal(None)
    with pytest.raises(CheckpointError, match="`trial_eaten`"):
        journal.add("trial_eaten", trial=0)


def test_no_sweep_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no sweep"):
        read_journal(tmp_path)


def test_seconds_are_of_all_runs_that_ended() -> None:
    journal = Journal(None)
    journal.add("trial_created", trial=0, values={}, config="c")
    journal.add("trial_died", trial=0, reason="killed", seconds=1.0)
    journal.add("trial_ended", trial=0, state="pruned", scores={}, reason="", seconds=2.0)
    journal.add("run_finished", run="a-s1", finalist="a", scores={}, seconds=4.0)
    journal.add("run_failed", run="a-s2", finalist="a", reason="diverged", seconds=8.0)
    assert journal.run_seconds() == 15.0
