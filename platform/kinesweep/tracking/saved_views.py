"""Saved views of MLflow's charts page: which runs, metrics and parameters it shows.

MLflow stores the view that a link names as a tag of the experiment, in the format of its own button
"Share view" (MLflow 3.17: a JSON envelope with a name and the state of the page, compressed). The
page that compares a list of runs has no such state: it shows the metric that it finds first.
"""

import base64
import json
import logging
import time
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

logger = logging.getLogger(__name__)

TAG_PREFIX = "mlflow.sharedViewState."
"""Prefix of the tags of an experiment that hold saved views; the rest is the key of the view."""
MAX_TAG_LENGTH = 5000
"""Characters that MLflow allows in a tag of an experiment."""
_MAX_SCATTER_PLOTS = 8
_MAX_PLOTTED_RUNS = 500
_SECTION_ID = "kinesweep"


@dataclass(frozen=True)
class ChartedColumns:
    """What the charts of a comparison show.

    Attributes:
        metrics: Names of the objectives, the deciding one first.
        parameters: Dotted keys of the searched parameters.
    """

    metrics: Sequence[str]
    parameters: Sequence[str]


def encode_saved_view(
    name: str, search_filter: str, order: tuple[str, bool], columns: ChartedColumns
) -> str:
    """Encode a view of the charts page as the value of an experiment's tag.

    It has parallel coordinates of all parameters and metrics, a scatter plot of the deciding metric
    for each of the first parameters, and a contour plot of the first two. There are fewer scatter
    plots if the tag would be too long otherwise, and then fewer parameters, which is logged.

    Args:
        name: Name in the list of saved views.
        search_filter: MLflow's filter that selects the runs.
        order: Metric by which the runs are ordered, and whether the smallest value comes first.
        columns: Metrics and parameters of the charts.
    """
    num_parameters = len(columns.parameters)

    def encode(num_shown: int, num_scatter_plots: int) -> str:
        """Encode the view of the first parameters."""
        shown = replace(columns, parameters=columns.parameters[:num_shown])
        charts = _build_charts(shown, num_scatter_plots)
        return _encode_state(name, _build_state(search_filter, order, shown, charts))

    for num_scatter_plots in range(_MAX_SCATTER_PLOTS, -1, -1):
        if len(value := encode(num_parameters, num_scatter_plots)) <= MAX_TAG_LENGTH:
            return value
    # Each further name makes the tag longer, so the first number that is too many can be bisected.
    numbers = range(num_parameters + 1)
    num_fitting = bisect_right(numbers, MAX_TAG_LENGTH, key=lambda number: len(encode(number, 0)))
    num_shown = max(0, num_fitting - 1)
    logger.warning(
        f"the charts {name!r} show the first {num_shown} of {num_parameters} searched parameters;"
        " MLflow has no room for the names of all. Its columns can be chosen on the page"
    )
    return encode(num_shown, 0)


def _encode_state(name: str, state: Mapping[str, Any]) -> str:
    """Encode a state of the charts page and its name as MLflow's button does."""
    compressed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    now_ms = int(time.time() * 1000)
    envelope = {"name": name, "createdAt": now_ms, "updatedAt": now_ms}
    # Not escaped: a letter that is not ASCII would count as six characters.
    return json.dumps({**envelope, "state": f"deflate;{compressed}"}, ensure_ascii=False)


def _build_state(
    search_filter: str,
    order: tuple[str, bool],
    columns: ChartedColumns,
    charts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Build the state of the charts page; keys that are left out have MLflow's defaults."""
    shown = [f"metrics.`{name}`" for name in columns.metrics]
    shown += [f"params.`{name}`" for name in columns.parameters]
    section = {"uuid": _SECTION_ID, "name": "Searched parameters", "display": True}
    return {
        "searchFilter": search_filter,
        "orderByKey": f"metrics.`{order[0]}`",
        "orderByAsc": order[1],
        "selectedColumns": shown,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": list(charts),
        "compareRunSections": [
            {**section, "isReordered": False, "deleted": False, "isGenerated": False}
        ],
    }


def _build_charts(columns: ChartedColumns, num_scatter_plots: int) -> list[dict[str, Any]]:
    """Build the charts of a view in their order on the page."""
    metric = {"key": columns.metrics[0], "type": "METRIC"}
    axes = [{"key": name, "type": "PARAM"} for name in columns.parameters]
    # The last axis decides the color of the lines, so the deciding metric is the last one.
    metrics = list(reversed(columns.metrics))
    parallel = {"selectedParams": list(columns.parameters), "selectedMetrics": metrics}
    charts: list[dict[str, Any]] = [{"type": "PARALLEL", **parallel}]
    charts += [
        {"type": "SCATTER", "xaxis": axis, "yaxis": metric} for axis in axes[:num_scatter_plots]
    ]
    if len(axes) > 1:
        charts.append({"type": "CONTOUR", "xaxis": axes[0], "yaxis": axes[1], "zaxis": metric})
    common = {"metricSectionId": _SECTION_ID, "deleted": False, "isGenerated": False}
    return [
        {
            **chart,
            **common,
            "uuid": f"{_SECTION_ID}-{index}",
            "showAllRuns": False,
            "runsCountToCompare": _MAX_PLOTTED_RUNS,
        }
        for index, chart in enumerate(charts)
    ]
