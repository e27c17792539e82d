"""How far a sweep is, out of its journal."""

from pathlib import Path

import pytest

from kinesweep.sweeps.journal.journal import RESULT, Journal
from kinesweep.sweeps.journal.status import read_sweep_status
from kinesweep.sweeps.planning.simulation import VirtualClock

HOUR = 3600.0


def started(folder: Path, clock: VirtualClock, objective: str = "bleu", **facts: int) -> Journal:
    """A search of 8 trials: two are done after an hour, a third is running."""
    journal = Journal(folder, clock)
    journal.start_session("i", "q")
    journal.append_event("search_started", trials=8, **facts)
    for number, score in enumerate((12.5, 9.0, None)):
        journal.append_event("trial_created", trial=number, values={}, config=str(number))
        report = {"step": 4, "samples": 50.0, "beyond": 40.0 + number, "loss": 3.0}
        journal.append_event("trial_reported", trial=number, **report)
        if score is not None:
            ended = {
                "state": "finished",
                "scores": {objective: score},
                "reason": "",
                "seconds": 9.0,
            }
            clock.now += HOUR / 2
            journal.append_event("trial_ended", trial=number, **ended)
    return journal


def test_a_search_on_its_way(tmp_path: Path) -> None:
    clock = VirtualClock()
    started(tmp_path / "mine", clock)
    status = read_sweep_status(tmp_path / "mine", now=clock.now)
    assert (status.sweep, status.state) == ("mine", "search")
    assert (status.running, status.finished, status.pruned, status.failed) == (1, 2, 0, 0)
    assert (status.of, status.runs, status.rung, status.best) == (8, 0, 42.0, 12.5)
    assert status.hours == pytest.approx(1.0)
    assert status.eta_hours == pytest.approx(1.0 * 6 / 2), "half an hour for each of the other six"
    assert read_sweep_status(tmp_path / "mine", now=clock.now + HOUR).state == "silent"


def test_the_best_cost_is_the_lowest(tmp_path: Path) -> None:
    started(tmp_path / "fast", VirtualClock(), "decode_ms")
    assert read_sweep_status(tmp_path / "fast").best == 9.0
    started(tmp_path / "ter", VirtualClock(), "ter")
    assert read_sweep_status(tmp_path / "ter").best == 9.0


def test_the_direction_of_an_extra_metric_is_in_the_journal(tmp_path: Path) -> None:
    for sign, best in ((-1, 9.0), (1, 12.5)):
        started(tmp_path / str(best), VirtualClock(), "own", sign=sign)
        assert read_sweep_status(tmp_path / str(best)).best == best


def test_finals_and_end(tmp_path: Path) -> None:
    clock = VirtualClock()
    journal = started(tmp_path, clock)
    journal.append_event("search_stopped", reason="1 of 1 hours are used")
    for seed, event in ((1, "run_finished"), (2, "run_failed"), (3, "run_started")):
        journal.append_event("run_started", run=f"a-s{seed}", finalist="a")
        journal.append_event(event, run=f"a-s{seed}", finalist="a", reason="")
    status = read_sweep_status(tmp_path, now=clock.now)
    assert (status.state, status.runs, status.failed, status.running) == ("finals", 1, 1, 2)
    assert (status.eta_hours, status.stopped) == (None, "1 of 1 hours are used")
    journal.append_event("ranked")
    (tmp_path / RESULT).touch()
    assert read_sweep_status(tmp_path, now=clock.now + 9 * HOUR).state == "finished"
