"""Links to pages of the MLflow UI: the runs of a sweep, comparisons, and the sweep's report.

The UI keeps its state in the fragment of the address (after `#`), with JSON lists percent-encoded,
or in a saved view that the address names, so a link opens the intended view without further clicks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from kinesweep.tracking.saved_views import TAG_PREFIX, ChartedColumns, encode_saved_view
from kinesweep.tracking.sweep_runs import query_sweep_runs, set_experiment_tag

_MAX_COMPARED_RUNS = 500
"""Runs per link; at 36 characters each, the address stays below the limits of browsers."""


@dataclass(frozen=True)
class SweepLinks:
    """Links to the pages of a sweep.

    Attributes:
        runs: Table of all runs of the sweep, ordered by the objective.
        finalists: Charts of the runs of the finals, ordered by the objective; empty if there are
            fewer than two runs.
        trials: Charts of the runs of the search, in the same way.
        compare_finalists: Charts of the objectives over the searched parameters of the runs of the
            finals (parallel coordinates, scatter plots, contours), a saved view; empty if there are
            fewer than two runs.
        compare_trials: The same charts of the runs of the search.
        details_finalists: Parameters, metrics and artifacts of the runs of the finals side by side;
            empty if there are fewer than two runs.
        details_trials: The same of the runs of the search.
        report: Report page among the artifacts of the sweep.
    """

    runs: str
    finalists: str
    trials: str
    compare_finalists: str
    compare_trials: str
    details_finalists: str
    details_trials: str
    report: str


@dataclass(frozen=True)
class RunOrdering:
    """The metric by which the runs of a page are ordered, and the direction.

    Attributes:
        metric: Name of the metric.
        ascending: Whether the smallest value comes first.
    """

    metric: str
    ascending: bool = False


def find_sweep_links(
    uri: str, experiment: str, run_key: str, ordering: RunOrdering, columns: ChartedColumns
) -> SweepLinks:
    """Query an MLflow server for the runs of a sweep and build the links to the sweep's pages.

    Two views are saved on the server, or replaced: the charts of the search and of the finals.

    Args:
        uri: Address of the server.
        experiment: Name of the experiment, that is, the question of the sweep.
        run_key: Key of the parent run: the path of the sweep folder.
        ordering: Metric that orders the runs.
        columns: Objectives and searched parameters that the comparisons show.

    Raises:
        TrackingError: If the server does not answer, rejects the views or has no such sweep.
    """
    sweep_runs = query_sweep_runs(uri, experiment, run_key)
    experiment_id, parent_run_id = sweep_runs.experiment_id, sweep_runs.parent_run_id
    runs_by_phase = _group_runs_by_phase(sweep_runs.child_phases)
    finals_runs, search_runs = runs_by_phase.get("finals", []), runs_by_phase.get("search", [])
    children_filter = f"tags.mlflow.parentRunId = '{parent_run_id}'"

    def build_charts_link(phase: str) -> str:
        """Return the link to the charts of a phase's runs; empty if there are fewer than two."""
        if len(runs_by_phase.get(phase, [])) < 2:
            return ""
        phase_filter = f"{children_filter} AND tags.phase = '{phase}'"
        return (
            _build_runs_page_link(uri, experiment_id, phase_filter, ordering)
            + "&compareRunsMode=CHART"
        )

    def build_view_link(phase: str) -> str:
        """Save the view of a phase's charts; return its link, empty if there are too few runs."""
        if len(runs_by_phase.get(phase, [])) < 2:
            return ""
        view = encode_saved_view(
            f"{phase} of {Path(run_key).name}",
            f"{children_filter} AND tags.phase = '{phase}'",
            (ordering.metric, ordering.ascending),
            columns,
        )
        key = f"kinesweep-{parent_run_id}-{phase}"
        set_experiment_tag(uri, experiment_id, f"{TAG_PREFIX}{key}", view)
        return (
            f"{uri}/#/experiments/{experiment_id}/runs?viewStateShareKey={key}"
            "&compareRunsMode=CHART"
        )

    return SweepLinks(
        runs=_build_runs_page_link(uri, experiment_id, children_filter, ordering),
        finalists=build_charts_link("finals"),
        trials=build_charts_link("search"),
        compare_finalists=build_view_link("finals"),
        compare_trials=build_view_link("search"),
        details_finalists=_build_comparison_link(uri, experiment_id, finals_runs),
        details_trials=_build_comparison_link(uri, experiment_id, search_runs),
        report=(
            f"{uri}/#/experiments/{experiment_id}/runs/{parent_run_id}/artifacts/report/index.html"
        ),
    )


def _build_runs_page_link(
    uri: str, experiment_id: str, search_filter: str, ordering: RunOrdering
) -> str:
    """Return the link to the table of the runs that a filter selects, ordered by a metric."""
    query_fields = {
        "searchFilter": search_filter,
        "orderByKey": f"metrics.`{ordering.metric}`",
        "orderByAsc": str(ordering.ascending).lower(),
    }
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in query_fields.items())
    return f"{uri}/#/experiments/{experiment_id}/runs?{query}"


def _group_runs_by_phase(child_phases: Mapping[str, str]) -> dict[str, list[str]]:
    """Return phase → run ids from run id → phase, with the runs of a phase in the same order."""
    runs_by_phase: dict[str, list[str]] = {}
    for run_id, phase in child_phases.items():
        runs_by_phase.setdefault(phase, []).append(run_id)
    return runs_by_phase


def _build_comparison_link(uri: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Return the link that compares the first 500 of some runs; empty for fewer than two runs."""
    # The page shows an error for a single run.
    if len(run_ids) < 2:
        return ""
    encoded_runs = quote(
        json.dumps(list(run_ids[:_MAX_COMPARED_RUNS]), separators=(",", ":")), safe=""
    )
    return (
        f"{uri}/#/compare-runs?runs={encoded_runs}&experiments={quote(json.dumps([experiment_id]))}"
    )
