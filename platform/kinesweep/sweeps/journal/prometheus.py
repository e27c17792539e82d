"""Prometheus readings of a sweep's status, which is read from the files in its folder."""

from collections.abc import Iterator
from pathlib import Path

from kinesweep.sweeps.journal.journal import JOURNAL
from kinesweep.sweeps.journal.status import read_sweep_status
from kinesweep.training.run_records.prometheus import GaugeValue


def iter_sweep_readings(folder: Path) -> Iterator[GaugeValue]:
    """Yield the Prometheus readings of a sweep: trials by state, final runs, best score, hours.

    Trials that are running or have failed include final runs in this state. A reading whose value
    is not known yet is left out. Nothing is yielded before the sweep has started.

    Args:
        folder: Folder of the sweep.

    Raises:
        CheckpointError: If this version does not know an event of the journal.
    """
    if not (folder / JOURNAL).is_file():
        return
    status = read_sweep_status(folder)
    labels = {"sweep": status.sweep}
    for state in ("running", "finished", "pruned", "failed"):
        yield GaugeValue("trials", getattr(status, state), {**labels, "state": state})
    values = {
        "trials_wanted": status.of,
        "final_runs": status.runs,
        "best_score": status.best,
        "sweep_hours": status.hours,
    }
    for name, value in values.items():
        if value is not None:
            yield GaugeValue(name, value, labels)
