"""A sweep's readings are what its journal says."""

from pathlib import Path

from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.journal.prometheus import iter_sweep_readings
from kinesweep.training.run_records.prometheus import GAUGES


def test_readings_of_a_sweep(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert not list(iter_sweep_readings(folder))
    journal = Journal(folder, clock=lambda: 0.0)
    journal.start_session("i", "q")
    journal.append_event("search_started", trials=8)
    ends = {0: ("finished", {"bleu": 12.5}), 1: ("finished", {"bleu": 9.0}), 2: ("pruned", {})}
    for number in range(4):
        journal.append_event("trial_created", trial=number, values={}, config=str(number))
        if number in ends:
            state, scores = ends[number]
            facts = {"state": state, "scores": scores, "reason": "", "seconds": 1.0}
            journal.append_event("trial_ended", trial=number, **facts)
    journal.close()
    found = list(iter_sweep_readings(folder))
    assert all(tuple(r.labels) == GAUGES[r.name][1] for r in found)
    assert {r.labels["state"]: r.value for r in found if r.name == "trials"} == {
        "running": 1,
        "finished": 2,
        "pruned": 1,
        "failed": 0,
    }
    rest = {r.name: r.value for r in found if r.name != "trials"}
    assert rest == {"trials_wanted": 8, "final_runs": 0, "best_score": 12.5, "sweep_hours": 0.0}


def test_no_score_yet_is_no_reading(tmp_path: Path) -> None:
    journal = Journal(tmp_path, clock=lambda: 0.0)
    journal.start_session("i", "q")
    journal.append_event("search_started", trials=None)
    journal.close()
    names = {reading.name for reading in iter_sweep_readings(tmp_path)}
    assert names == {"trials", "final_runs", "sweep_hours"}
