"""The ranking as a Plotly figure."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from kinesweep.report.figures import BEHIND, LAYOUT, ReportFigure, get_rank_color
from kinesweep.report.report_data import SweepReport

_MAX_NAME_LENGTH = 34


def draw_ranking(report: SweepReport) -> ReportFigure:
    """Draw means with their intervals, the best on top, and each seed's score as a small mark."""
    # Plotly draws the first category at the bottom.
    lines = list(reversed(report.ranking))
    names = [_format_label(report, line["name"]) for line in lines]
    figure = go.Figure()
    for name, line in zip(names, lines, strict=True):
        figure.add_traces(_build_rank_traces(report, name, line))
    if report.sanity:
        figure.add_trace(_build_sanity_trace(report))
    # Sanity baselines come below all configurations.
    categories = [*map(_shorten_name, reversed(list(report.sanity))), *names]
    figure.update_yaxes(categoryorder="array", categoryarray=categories)
    figure.update_layout(**LAYOUT, showlegend=False, height=110 + 40 * len(categories))
    figure.update_xaxes(title=f"{report.metric} on validation, mean over seeds, 95 % interval")
    text = (
        "Green is the best, teal is not significantly different from it, and grey is significantly"
        " worse. Small marks are single seeds, diamonds are sanity baselines."
    )
    return ReportFigure("ranking", "Ranking", text, figure)


def _build_rank_traces(report: SweepReport, name: str, line: Mapping[str, Any]) -> list[go.Scatter]:
    """Return the traces of one configuration: its seeds, and their mean with its interval."""
    color = get_rank_color(line["name"], line["tied"], report.winner)
    seeds = list(line["scores"].values())
    seed_marks = go.Scatter(
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
    return [seed_marks, mean]


def _build_sanity_trace(report: SweepReport) -> go.Scatter:
    """Return the trace of the sanity baselines."""
    return go.Scatter(
        x=list(report.sanity.values()),
        y=[_shorten_name(name) for name in report.sanity],
        mode="markers",
        marker={"symbol": "diamond-open", "size": 10, "color": BEHIND},
        hovertemplate=f"{report.metric} %{{x:.2f}}<extra>sanity baseline</extra>",
    )


def _shorten_name(name: str) -> str:
    """Return a name with at most 34 characters, for the axis."""
    return name if len(name) <= _MAX_NAME_LENGTH else f"{name[: _MAX_NAME_LENGTH - 1]}…"


def _format_label(report: SweepReport, name: str) -> str:
    """Return the name of a configuration, with its scientific levels if there are any."""
    level = report.levels.get(name, "")
    return f"{name} ({level})" if level else name
