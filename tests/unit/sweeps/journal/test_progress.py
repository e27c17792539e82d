"""What a display of a running sweep shows, out of journals that are written here."""

from collections.abc import Callable

import pytest

from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.journal.progress import SweepProgress, compute_progress


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(clock: Clock) -> Journal:
    made = Journal(None, clock)
    made.start_session("id", "A question?")
    return made


@pytest.fixture
def now(journal: Journal, clock: Clock) -> Callable[[], SweepProgress]:
    def read() -> SweepProgress:
        found = compute_progress(journal.events, clock.now)
        assert found is not None
        return found

    return read


def trial(journal: Journal, number: int, state: str = "", bleu: float = 0.0, **more: int) -> None:
    """Begins a trial; ends it where a state is given."""
    if number >= len(journal.trials):
        journal.append_event("trial_created", trial=number, values={}, config=str(number), **more)
    if state:
        scores = {"bleu": bleu, "parameters": 1000.0 - bleu} if state == "finished" else {}
        journal.append_event(
            "trial_ended", trial=number, state=state, scores=scores, reason="", seconds=1.0
        )


def test_nothing_before_a_driver_began() -> None:
    assert compute_progress([], 0.0) is None


def test_a_search(journal: Journal, clock: Clock, now: Callable[[], SweepProgress]) -> None:
    assert (now().stage, now().num_planned_trials, now().best, now().remaining_s) == (
        *("search", None, None, None),
    )
    journal.append_event("search_started", trials=8)
    trial(journal, 0)
    trial(journal, 1)
    assert now().remaining_s is None
    clock.now += 30
    trial(journal, 0, "finished", 40.0)
    clock.now += 10
    trial(journal, 1, "pruned")
    trial(journal, 2, "finished", 70.0)
    trial(journal, 3, "failed")
    trial(journal, 4)
    trial(journal, 5, duplicate_of=2)
    shown = now()
    assert dict(shown.trials) == {"finished": 2, "pruned": 1, "failed": 1, "running": 1}
    assert shown.num_planned_trials == 8
    assert shown.best is not None
    assert (shown.best.trial, shown.best.scores["bleu"]) == (2, 70.0)
    # Four in 40 s; four are left, and 7 s of them have passed.
    assert shown.remaining_s == pytest.approx(40.0)
    clock.now += 7
    assert now().remaining_s == pytest.approx(33.0)
    clock.now += 100
    assert now().remaining_s == 0.0


def test_a_cost_is_best_where_it_is_least(
    journal: Journal, now: Callable[[], SweepProgress]
) -> None:
    for number, count in enumerate((900.0, 300.0, 300.0)):
        journal.append_event("trial_created", trial=number, values={}, config=str(number))
        scores = {"parameters": count, "bleu": 10.0}
        journal.append_event(
            "trial_ended", trial=number, state="finished", scores=scores, reason="", seconds=1.0
        )
    best = now().best
    assert best is not None and best.trial == 1


def test_a_whole_grid_has_no_end_in_sight(
    journal: Journal, now: Callable[[], SweepProgress]
) -> None:
    journal.append_event("search_started", trials=None)
    trial(journal, 0, "finished", 1.0)
    assert (now().num_planned_trials, now().remaining_s) == (None, None)


def test_finals(journal: Journal, clock: Clock, now: Callable[[], SweepProgress]) -> None:
    """Runs that were finished before count as finished; one that died is not running."""
    journal.append_event("search_started", trials=1)
    trial(journal, 0, "finished", 40.0)
    journal.append_event("finals_started", runs=6, missing=4)
    for run in "abc":
        journal.append_event("run_started", run=run, finalist="x")
    assert (now().stage, now().num_planned_runs, now().remaining_s) == ("finals", 6, None)
    clock.now += 20
    journal.append_event("run_finished", run="a", finalist="x", seconds=20.0, scores={"bleu": 1.0})
    journal.append_event("run_died", run="b", finalist="x", seconds=20.0, reason="")
    assert dict(now().runs) == {"finished": 3, "running": 1, "waiting": 1}
    assert now().remaining_s == pytest.approx(60.0)
    journal.append_event("run_failed", run="c", finalist="x", seconds=20.0, reason="")
    assert dict(now().runs) == {"finished": 3, "waiting": 1, "failed": 1}
    assert now().remaining_s == pytest.approx(20.0)
    journal.append_event("ranked", winner="x")
    assert now().stage == "done"


def test_an_extended_sweep_searches_again(
    journal: Journal, clock: Clock, now: Callable[[], SweepProgress]
) -> None:
    """The finals of the session before are none of the new one's."""
    journal.append_event("search_started", trials=1)
    trial(journal, 0, "finished", 40.0)
    journal.append_event("finals_started", runs=1, missing=1)
    journal.append_event("run_started", run="a", finalist="x")
    journal.append_event("run_finished", run="a", finalist="x", seconds=20.0, scores={"bleu": 1.0})
    journal.append_event("ranked", winner="x")
    clock.now = 5000.0
    journal.start_session("id", "A question?")
    journal.append_event("search_started", trials=3)
    clock.now += 50
    trial(journal, 1, "finished", 30.0)
    shown = now()
    assert (shown.stage, shown.session_start, shown.num_planned_runs) == ("search", 5000.0, None)
    assert shown.remaining_s == pytest.approx(50.0)
    journal.append_event("finals_started", runs=2, missing=1)
    assert dict(now().runs) == {"finished": 1}
