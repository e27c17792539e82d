"""The ranking as a Plotly figure."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from kinesweep.report.figures import BEHIND, LAYOUT, ReportFigure, get_rank_color
from kinesweep.report.report_data import SweepReport

_MAX_NAME_LENGTH = 34


def draw_ranking(report: SweepReport) -> ReportFigure:
    """Draw the mean of each configuration with its interval, the best one on top.

    Each seed's score is a small mark, and sanity baselines are below all configurations.

    Args:
        report: Data of the report.
    """
    # Plotly draws the first category at the bottom.
    configurations = list(reversed(report.ranking))
    labels = [_format_label(report, configuration["name"]) for configuration in configurations]
    figure = go.Figure()
    for label, configuration in zip(labels, configurations, strict=True):
        figure.add_traces(_build_rank_traces(report, label, configuration))
    if report.sanity:
        figure.add_trace(_build_sanity_trace(report))
    categories = [*map(_shorten_name, reversed(list(report.sanity))), *labels]
    figure.update_yaxes(categoryorder="array", categoryarray=categories)
    figure.update_layout(**LAYOUT, showlegend=False, height=110 + 40 * len(categories))
    figure.update_xaxes(title=f"{report.metric} on validation, mean over seeds, 95 % interval")
    caption = (
        "Green is the best, teal is not significantly different from it, and gray is significantly"
        " worse. Small marks are single seeds, diamonds are sanity baselines."
    )
    return ReportFigure("ranking", "Ranking", caption, figure)


def _build_rank_traces(
    report: SweepReport, label: str, configuration: Mapping[str, Any]
) -> list[go.Scatter]:
    """Build the two traces of a configuration: the scores of its seeds, and their mean.

    Args:
        report: Data of the report.
        label: Category on the vertical axis.
        configuration: Element of `report.ranking`.
    """
    mean = configuration["mean"]
    color = get_rank_color(configuration["name"], configuration["tied"], report.winner)
    seed_scores = list(configuration["scores"].values())
    seed_trace = go.Scatter(
        x=seed_scores,
        y=[label] * len(seed_scores),
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 11, "color": color},
        hovertemplate=f"{report.metric} %{{x:.2f}}<extra>one seed</extra>",
    )
    mean_trace = go.Scatter(
        x=[mean],
        y=[label],
        mode="markers",
        marker={"size": 12, "color": color},
        # Plotly expects distances from the mean; the interval need not be symmetric.
        error_x={
            "array": [configuration["high"] - mean],
            "arrayminus": [mean - configuration["low"]],
            "color": color,
            "thickness": 2,
        },
        hovertemplate=f"{report.metric} %{{x:.2f}}<extra>mean, 95 %</extra>",
    )
    return [seed_trace, mean_trace]


def _build_sanity_trace(report: SweepReport) -> go.Scatter:
    """Build the trace of the sanity baselines: one diamond at the score of each baseline."""
    return go.Scatter(
        x=list(report.sanity.values()),
        y=[_shorten_name(name) for name in report.sanity],
        mode="markers",
        marker={"symbol": "diamond-open", "size": 10, "color": BEHIND},
        hovertemplate=f"{report.metric} %{{x:.2f}}<extra>sanity baseline</extra>",
    )


def _shorten_name(name: str) -> str:
    """Return a name for the axis, cut to at most 34 characters."""
    return name if len(name) <= _MAX_NAME_LENGTH else f"{name[: _MAX_NAME_LENGTH - 1]}…"


def _format_label(report: SweepReport, name: str) -> str:
    """Return the name of a configuration, with its scientific levels if there are any."""
    levels = report.levels.get(name, "")
    return f"{name} ({levels})" if levels else name
