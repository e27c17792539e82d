"""Prometheus readings of a sweep's progress, computed from its journal alone like `status`."""

from collections.abc import Iterator
from pathlib import Path

from kinesweep.sweeps.journal.journal import JOURNAL
from kinesweep.sweeps.journal.status import read_status
from kinesweep.training.run_records.prometheus import Reading


def sweep_readings(folder: Path) -> Iterator[Reading]:
    """Yield trials by state, final runs, best score and hours; nothing before the sweep starts."""
    if not (folder / JOURNAL).is_file():
        return
    status = read_status(folder)
    sweep = {"sweep": status.sweep}
    for state in ("running", "finished", "pruned", "failed"):
        yield Reading("trials", getattr(status, state), {**sweep, "state": state})
    shown = {
        "trials_wanted": status.of,
        "final_runs": status.runs,
        "best_score": status.best,
        "sweep_hours": status.hours,
    }
    for name, value in shown.items():
        if value is not None:
            yield Reading(name, value, sweep)
