"""Addresses of pages in MLflow's own interface: a sweep's runs, comparisons, its report.

The interface keeps its state behind the `#` of an address, JSON lists in it percent-encoded; so a
link shows what we mean with no click.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.wire import AwayError, Wire

_MOST_COMPARED = 500
"""Runs in one link: at 36 characters each the address stays below what browsers take."""


@dataclass(frozen=True)
class Links:
    """Where to look.

    Attributes:
        runs: all runs of the sweep in MLflow's table.
        finalists: the runs of the finals beside each other.
        trials: the runs of the search, with parallel coordinates.
        report: the page among the sweep's artifacts.
    """

    runs: str
    finalists: str
    trials: str
    report: str


def find_links(uri: str, experiment: str, sweep_key: str) -> Links:
    """Links to a sweep that is recorded at a server.

    Args:
        uri: its address.
        experiment: the sweep's question.
        sweep_key: `RunName.key` of the sweep's own run.

    Raises:
        TrackingError: the server is away, or knows no such sweep.
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
    """MLflow's id of a sweep's own run; raises as `find_links`."""
    return _ask(uri, experiment, sweep_key)[1]


def _ask(uri: str, experiment: str, sweep_key: str) -> tuple[str, str, dict[str, str]]:
    """Ids of experiment and run, and the runs that belong to it → their phase."""
    try:
        wire = Wire(uri)
        number = wire.experiment_id(experiment)
        run = wire.run_id(number, sweep_key) if number else None
        if number is None or run is None:
            raise TrackingError(
                f"the MLflow server at {uri} knows no run of this sweep; was it swept with another"
                " server, or with `tracking=none`?"
            )
        return number, run, wire.children(number, run)
    except AwayError as error:
        raise TrackingError(f"the MLflow server at {uri} does not answer: {error}") from None


def _by_phase(children: Mapping[str, str]) -> dict[str, list[str]]:
    phases: dict[str, list[str]] = {}
    for run, phase in children.items():
        phases.setdefault(phase, []).append(run)
    return phases


def _compare(uri: str, experiment: str, runs: Sequence[str]) -> str:
    """The comparison page of some runs; empty where there are fewer than two."""
    if len(runs) < 2:
        return ""
    listed = quote(json.dumps(list(runs[:_MOST_COMPARED]), separators=(",", ":")), safe="")
    return f"{uri}/#/compare-runs?runs={listed}&experiments={quote(json.dumps([experiment]))}"
