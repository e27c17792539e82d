"""How far a sweep is, read from its journal alone: no lock, no Ray."""

from collections import Counter
from pathlib import Path

from kinesweep.sweeps.journal import read_journal, read_trials


def read_status(folder: Path) -> dict[str, str | int | float | None]:
    """One line about a sweep.

    Raises:
        CheckpointError: no sweep there.
    """
    events = read_journal(folder)
    trials = read_trials([e for e in events if "trial" in e])
    states = Counter(trial.state for trial in trials)
    scores = [trial.score for trial in trials if trial.score is not None]
    kinds = Counter(event["event"] for event in events)
    runs = len({event["run"] for event in events if event["event"] == "run_finished"})
    phase = "finals" if runs else "search"
    return {
        "sweep": folder.name,
        "state": "finished" if (folder / "result.json").exists() and kinds["ranked"] else phase,
        "running": states["running"],
        "finished": states["finished"],
        "pruned": states["pruned"],
        "failed": states["failed"] + kinds["run_failed"],
        "runs": runs,
        "best": round(max(scores), 2) if scores else None,
    }
