"""The ranking as a Plotly figure."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from kinesweep.report.figures import BEHIND, LAYOUT, Figure, color_of
from kinesweep.report.report_data import Report

_MOST_LETTERS = 34


def ranking(report: Report) -> Figure:
    """Draw means with their intervals, the best on top, and each seed's score as a small mark."""
    # Plotly draws the first category at the bottom.
    lines = list(reversed(report.ranking))
    names = [_label(report, line["name"]) for line in lines]
    drawn = go.Figure()
    for name, line in zip(names, lines, strict=True):
        drawn.add_traces(_line(report, name, line))
    if report.sanity:
        drawn.add_trace(_sanity(report))
    # Sanity baselines come below all configurations.
    places = [*map(_short, reversed(list(report.sanity))), *names]
    drawn.update_yaxes(categoryorder="array", categoryarray=places)
    drawn.update_layout(**LAYOUT, showlegend=False, height=110 + 40 * len(places))
    drawn.update_xaxes(title=f"{report.metric} on validation, mean over seeds, 95 % interval")
    text = (
        "Green is the best, teal is not significantly different from it, and grey is significantly"
        " worse. Small marks are single seeds, diamonds are sanity baselines."
    )
    return Figure("ranking", "Ranking", text, drawn)


def _line(report: Report, name: str, line: Mapping[str, Any]) -> list[go.Scatter]:
    """Return the traces of one configuration: its seeds, and their mean with its interval."""
    color = color_of(line["name"], line["tied"], report.winner)
    seeds = list(line["scores"].values())
    marks = go.Scatter(
        x=seeds,
        y=[name] * len(seeds),
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 11, "color": color},
        hovertemplate=f"{report.metric} %{{x:.2f}}<extra>one seed</extra>",
    )
    mean = go.Scatter(
        x=[line["mean"]],
        y=[name],
        mode="markers",
        marker={"size": 12, "color": color},
        # Plotly expects distances from the mean; the interval need not be symmetric.
        error_x={
            "array": [line["high"] - line["mean"]],
            "arrayminus": [line["mean"] - line["low"]],
            "color": color,
            "thickness": 2,
        },
        hovertemplate=f"{report.metric} %{{x:.2f}}<extra>mean, 95 %</extra>",
    )
    return [marks, mean]


def _sanity(report: Report) -> go.Scatter:
    """Return the trace of the sanity baselines."""
    return go.Scatter(
        x=list(report.sanity.values()),
        y=[_short(name) for name in report.sanity],
        mode="markers",
        marker={"symbol": "diamond-open", "size": 10, "color": BEHIND},
        hovertemplate=f"{report.metric} %{{x:.2f}}<extra>sanity baseline</extra>",
    )


def _short(name: str) -> str:
    """Return a name with at most 34 characters, for the axis."""
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"


def _label(report: Report, name: str) -> str:
    """Return the name of a configuration, with its scientific levels if there are any."""
    level = report.levels.get(name, "")
    return f"{name} ({level})" if level else name
