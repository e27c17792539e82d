"""Links to pages of the MLflow UI: the runs of a sweep, comparisons, and the sweep's report.

The UI keeps its state in the fragment of the address (after `#`), with JSON lists percent-encoded,
so a link opens the intended view without further clicks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.mlflow_client import ServerUnavailableError, Wire

_MOST_COMPARED = 500
"""Runs per link; at 36 characters each, the address stays below the limits of browsers."""


@dataclass(frozen=True)
class Links:
    """Links to the pages of a sweep.

    Attributes:
        runs: Table of all runs of the sweep.
        finalists: Comparison of the runs of the finals; empty if there are fewer than two.
        trials: Comparison of the runs of the search, with parallel coordinates; empty if there are
            fewer than two.
        report: Report page among the artifacts of the sweep.
    """

    runs: str
    finalists: str
    trials: str
    report: str


def find_links(uri: str, experiment: str, sweep_key: str) -> Links:
    """Return links to a sweep that is recorded at a server.

    Args:
        uri: Address of the server.
        experiment: Name of the experiment, that is, the question of the sweep.
        sweep_key: `RunName.key` of the sweep's own run.

    Raises:
        TrackingError: If the server does not answer or has no such sweep.
    """
    number, parent, children = _ask(uri, experiment, sweep_key)
    phases = _by_phase(children)
    filtered = quote(f"tags.mlflow.parentRunId = '{parent}'", safe="")
    return Links(
        runs=f"{uri}/#/experiments/{number}/runs?searchFilter={filtered}",
        finalists=_compare(uri, number, phases.get("finals", [])),
        trials=_compare(uri, number, phases.get("search", [])),
        report=f"{uri}/#/experiments/{number}/runs/{parent}/artifacts/report/index.html",
    )


def find_run(uri: str, experiment: str, sweep_key: str) -> str:
    """Return the MLflow id of a sweep's own run.

    Args:
        uri: Address of the server.
        experiment: Name of the experiment, that is, the question of the sweep.
        sweep_key: `RunName.key` of the sweep's own run.

    Raises:
        TrackingError: If the server does not answer or has no such sweep.
    """
    return _ask(uri, experiment, sweep_key)[1]


def _ask(uri: str, experiment: str, sweep_key: str) -> tuple[str, str, dict[str, str]]:
    """Return the ids of experiment and run, and the child runs → their phase."""
    try:
        wire = Wire(uri)
        # `experiment_id` and `run_id` only look things up; a link must not create a run.
        number = wire.experiment_id(experiment)
        run = wire.run_id(number, sweep_key) if number else None
        if number is None or run is None:
            raise TrackingError(
                f"the MLflow server at {uri} has no run of this sweep; the sweep may have used"
                " another server or `tracking=none`"
            )
        return number, run, wire.children(number, run)
    except ServerUnavailableError as error:
        raise TrackingError(f"the MLflow server at {uri} does not answer: {error}") from None


def _by_phase(children: Mapping[str, str]) -> dict[str, list[str]]:
    """Group runs by phase, in order."""
    phases: dict[str, list[str]] = {}
    for run, phase in children.items():
        phases.setdefault(phase, []).append(run)
    return phases


def _compare(uri: str, experiment: str, runs: Sequence[str]) -> str:
    """Return the link that compares some runs; empty if there are fewer than two."""
    if len(runs) < 2:
        return ""
    listed = quote(json.dumps(list(runs[:_MOST_COMPARED]), separators=(",", ":")), safe="")
    return f"{uri}/#/compare-runs?runs={listed}&experiments={quote(json.dumps([experiment]))}"
