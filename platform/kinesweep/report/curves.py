"""The learning curves of all runs as one Plotly figure."""

from collections.abc import Sequence
from itertools import cycle

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from kinesweep.report.figures import GREY, LAYOUT, Figure
from kinesweep.report.report_data import Curve

_GREYED = frozenset({"pruned", "failed"})
# Maximum number of points per curve and in all curves together, and the minimum per curve, which
# has precedence. The limits keep the page of a sweep with hundreds of runs small.
_MOST_POINTS, _IN_ALL, _LEAST_POINTS = 60, 9000, 10


def learning_curves(curves: Sequence[Curve], metric: str) -> Figure:
    """Draw loss and score over the number of clips seen, one line per run.

    Args:
        curves: Evaluations of all runs.
        metric: Metric shown beside the loss.

    Returns:
        The figure; pruned and failed runs are grey and behind the others.
    """
    title, text = "Learning curves", "Validation during training. Pruned runs are grey."
    shown = [name for name in ("token_loss", metric) if any(name in c.measured for c in curves)]
    if not shown:
        return Figure("curves", title, text, None, "no run has been evaluated")
    most = max(_LEAST_POINTS, min(_MOST_POINTS, _IN_ALL // len(curves)))
    drawn = make_subplots(rows=1, cols=len(shown), subplot_titles=shown)
    # Plotly draws traces in their order, so grey lines come first.
    order = {"pruned": 0, "failed": 1}
    colors = _colors(curves)
    for curve in sorted(curves, key=lambda c: order.get(c.state, 2)):
        for column, name in enumerate(shown, start=1):
            if name in curve.measured:
                line = _line(curve, name, most, colors[_configuration(curve)])
                # One legend entry per run, although it has a line in each column.
                line.showlegend = column == 1 and curve.state not in _GREYED
                drawn.add_trace(line, row=1, col=column)
    drawn.update_layout(**LAYOUT, height=460, hovermode="closest")
    drawn.update_xaxes(title="clips seen")
    return Figure("curves", title, text, drawn)


def _configuration(curve: Curve) -> str:
    """Return the configuration of a curve: `trial 3` for `trial 3, seed 1`."""
    return curve.name.partition(", seed ")[0]


def _colors(curves: Sequence[Curve]) -> dict[str, str]:
    """Return configuration → colour; search and final runs of one configuration share a colour."""
    # A dict instead of a set keeps the order of the runs, so colours are the same in every report.
    names = dict.fromkeys(_configuration(curve) for curve in curves)
    return dict(zip(names, cycle(qualitative.Dark24), strict=False))


def _line(curve: Curve, metric: str, most: int, color: str) -> go.Scatter:
    """Return one run's line; its lines in both columns are toggled by one legend entry."""
    # The last point is always kept, because it is the score that the run ended with.
    every = max(1, -(-len(curve.samples) // most))
    keep = [i for i in range(len(curve.samples)) if i % every == 0 or i == len(curve.samples) - 1]
    measured = curve.measured[metric]
    grey = curve.state in _GREYED
    return go.Scatter(
        x=[curve.samples[i] for i in keep],
        # Plotly draws None as a gap. Four decimals keep the page small.
        y=[None if (y := measured[i]) is None else round(y, 4) for i in keep],
        name=curve.name,
        legendgroup=curve.name,
        mode="lines",
        line={"color": GREY, "width": 1} if grey else {"color": color, "width": 1.5},
        hovertemplate=f"{curve.name}<br>%{{x:,}} clips<br>%{{y:.3f}}<extra>{curve.state}</extra>",
    )
