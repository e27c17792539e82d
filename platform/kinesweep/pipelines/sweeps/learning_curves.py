"""Learning curves of a sweep's runs, read from their run folders."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinesweep.report import LearningCurve
from kinesweep.sweeps.journal.journal import Trial
from kinesweep.sweeps.journal.run_folders import RUNS, format_run_name
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.run_identity import METRICS_FILE

_EVALUATION_SCORES = frozenset({"token_loss", "masked_loss", "recall_1"})
"""Scores of which every evaluation has one, and which no log of a training step has."""


def collect_learning_curves(
    folder: Path, search_seed: int, trials: Sequence[Trial], events: Sequence[Mapping[str, Any]]
) -> list[LearningCurve]:
    """Collect the learning curves of all evaluated runs, those of the search before the finals.

    Args:
        folder: Folder of the sweep.
        search_seed: Random seed of the runs of the search.
        trials: Trials of the search.
        events: Events of the sweep's journal.
    """
    # A duplicate trial was not trained; it copies the result of an equal configuration.
    runs: list[tuple[str, str, str, str]] = [
        (
            f"trial {trial.number}",
            "search",
            trial.state,
            format_run_name(trial.config_hash, search_seed),
        )
        for trial in trials
        if trial.duplicate_of is None
    ]
    end_states = {"run_finished": "finished", "run_failed": "failed"}
    for event in events:
        if event["event"] in end_states:
            name = f"{event['finalist']}, seed {event['run'].rpartition('-s')[2]}"
            runs.append((name, "finals", end_states[event["event"]], event["run"]))
    return [
        curve
        for name, phase, state, run in runs
        if (curve := _read_curve(name, phase, state, folder / RUNS / run / METRICS_FILE))
        is not None
    ]


def _read_curve(name: str, phase: str, state: str, path: Path) -> LearningCurve | None:
    """Read the learning curve of one run; return None if the run was never evaluated.

    Args:
        name: Display name of the run.
        phase: `search` or `finals`.
        state: Final state of the run.
        path: File of the run's metrics.
    """
    # Rows with one of these are evaluations; the others are logs of training steps.
    rows = [row for row in read_metrics(path) if not _EVALUATION_SCORES.isdisjoint(row)]
    if not rows:
        return None
    metrics = {metric for row in rows for metric in row} - {"step", "samples"}
    values_by_metric = {
        metric: [_replace_non_finite(row.get(metric)) for row in rows] for metric in sorted(metrics)
    }
    return LearningCurve(name, phase, state, [row["samples"] for row in rows], values_by_metric)


def _replace_non_finite(value: float | None) -> float | None:
    """Return a finite value unchanged, and None for NaN and infinity, which JSON lacks."""
    return value if value is not None and math.isfinite(value) else None
