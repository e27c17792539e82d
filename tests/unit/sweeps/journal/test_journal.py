"""The journal: what stands in it has happened."""

import json
from pathlib import Path

import pytest

from kinesweep.core.errors import CheckpointError
from kinesweep.sweeps.journal.journal import (
    Journal,
    build_trials,
    read_journal,
)
from kinesweep.sweeps.journal.worked_time import compute_worked_hours
from kinesweep.sweeps.planning.simulation import VirtualClock


def test_it_survives_a_torn_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.start_session("one", "?") is False
    journal.append_event("trial_created", trial=0, values={"a": 1}, config="c")
    ended = {"state": "finished", "scores": {"bleu": 3.5}, "reason": "", "seconds": 2.0}
    journal.append_event("trial_ended", trial=0, **ended)
    journal.append_event("trial_created", trial=1, values={"a": 2}, config="d")
    journal.close()
    assert journal.path is not None
    with journal.path.open("a") as file:
        file.write('{"event": "trial_ended", "tri')
    again = Journal(tmp_path)
    assert again.start_session("one", "?") is True
    assert [(t.state, t.scores) for t in again.trials] == [
        ("finished", {"bleu": 3.5}),
        ("running", {}),
    ]
    again.append_event("trial_died", trial=1, reason="killed", seconds=1.0)
    again.append_event("trial_ended", trial=1, state="pruned", scores={}, reason="", seconds=4.0)
    again.close()
    assert (again.get_trial(1).num_deaths, again.get_trial(1).seconds) == (1, 5.0)
    assert [json.loads(line) for line in again.path.read_text().splitlines()] == again.events
    assert build_trials(read_journal(tmp_path)) == again.trials
    with pytest.raises(CheckpointError, match="another sweep"):
        Journal(tmp_path).start_session("two", "?")


def test_pauses_between_drivers_cost_nothing() -> None:
    clock = VirtualClock()
    journal = Journal(None, clock)
    journal.start_session("one", "?")
    clock.now = 3600
    journal.append_event("search_started", trials=1)
    clock.now = 10 * 3600
    journal.start_session("one", "?")
    clock.now = 12 * 3600
    assert journal.get_worked_hours() == pytest.approx(3.0)
    journal.append_event("search_started", trials=1)
    assert compute_worked_hours(journal.events) == pytest.approx(3.0)


def test_a_foreign_event_is_an_error() -> None:
    journal = Journal(None)
    with pytest.raises(CheckpointError, match="`trial_eaten`"):
        journal.append_event("trial_eaten", trial=0)


def test_no_sweep_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no sweep"):
        read_journal(tmp_path)


def test_seconds_are_of_all_runs_that_ended() -> None:
    journal = Journal(None)
    journal.append_event("trial_created", trial=0, values={}, config="c")
    journal.append_event("trial_died", trial=0, reason="killed", seconds=1.0)
    journal.append_event("trial_ended", trial=0, state="pruned", scores={}, reason="", seconds=2.0)
    journal.append_event("run_finished", run="a-s1", finalist="a", scores={}, seconds=4.0)
    journal.append_event("run_failed", run="a-s2", finalist="a", reason="diverged", seconds=8.0)
    journal.append_event("run_died", run="a-s3", finalist="a", reason="killed", seconds=16.0)
    assert journal.sum_run_seconds() == 31.0
