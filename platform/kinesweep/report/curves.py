"""The learning curves of all runs as one Plotly figure."""

from collections.abc import Sequence
from itertools import cycle

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from kinesweep.report.figures import GRAY, LAYOUT, ReportFigure
from kinesweep.report.report_data import LearningCurve

_GRAY_STATES = frozenset({"pruned", "failed"})
# Maximum number of points per curve and in all curves together, and the minimum per curve, which
# has precedence. The limits keep the page of a sweep with hundreds of runs small.
_MAX_POINTS, _MAX_TOTAL_POINTS, _MIN_POINTS = 60, 9000, 10


def draw_learning_curves(curves: Sequence[LearningCurve], metric: str) -> ReportFigure:
    """Draw loss and score over the number of clips seen, one line per run.

    Long curves are thinned to at most 60 points, and to fewer if there are many runs.

    Args:
        curves: Learning curves of all runs.
        metric: Metric shown beside the loss.

    Returns:
        The figure; pruned and failed runs are gray and behind the others. It has no plot but the
        reason if no run has been evaluated.
    """
    title, caption = "Learning curves", "Validation during training. Pruned runs are gray."
    metric_names = [
        name for name in ("token_loss", metric) if any(name in curve.measured for curve in curves)
    ]
    if not metric_names:
        return ReportFigure("curves", title, caption, None, "no run has been evaluated")
    max_points = max(_MIN_POINTS, min(_MAX_POINTS, _MAX_TOTAL_POINTS // len(curves)))
    figure = make_subplots(rows=1, cols=len(metric_names), subplot_titles=metric_names)
    # Plotly draws traces in their order, so gray lines come first.
    drawing_order = {"pruned": 0, "failed": 1}
    colors = _assign_colors(curves)
    groups_in_legend: set[str] = set()
    for curve in sorted(curves, key=lambda curve: drawing_order.get(curve.state, 2)):
        for column, name in enumerate(metric_names, start=1):
            if name in curve.measured:
                trace = _build_curve_trace(
                    curve, name, max_points, colors[_get_configuration_name(curve)]
                )
                # One legend entry per configuration shows or hides its runs in all columns.
                trace.showlegend = (
                    trace.legendgroup not in groups_in_legend and curve.state not in _GRAY_STATES
                )
                if trace.showlegend:
                    groups_in_legend.add(trace.legendgroup)
                figure.add_trace(trace, row=1, col=column)
    figure.update_layout(**LAYOUT, height=460, hovermode="closest")
    figure.update_xaxes(title="clips seen")
    return ReportFigure("curves", title, caption, figure)


def _get_configuration_name(curve: LearningCurve) -> str:
    """Return the name of a curve's configuration, such as `trial 3` for `trial 3, seed 1`."""
    return curve.name.partition(", seed ")[0]


def _assign_colors(curves: Sequence[LearningCurve]) -> dict[str, str]:
    """Return configuration name → color; all runs of a configuration share one color."""
    # A dict instead of a set keeps the order of the runs, so colors are the same in every report.
    names = dict.fromkeys(_get_configuration_name(curve) for curve in curves)
    return dict(zip(names, cycle(qualitative.Dark24), strict=False))


def _build_curve_trace(
    curve: LearningCurve, metric: str, max_points: int, color: str
) -> go.Scatter:
    """Build the line of one run; its legend entry is that of its configuration.

    Args:
        curve: Learning curve of the run.
        metric: Metric on the vertical axis.
        max_points: Maximum number of points; the last point may be one more.
        color: Color of the line, unless the run is gray because it was pruned or failed.
    """
    # The last point is always kept, because it is the score that the run ended with.
    stride = max(1, -(-len(curve.samples) // max_points))
    last_index = len(curve.samples) - 1
    indices = [i for i in range(len(curve.samples)) if i % stride == 0 or i == last_index]
    metric_values = curve.measured[metric]
    is_gray = curve.state in _GRAY_STATES
    return go.Scatter(
        x=[curve.samples[i] for i in indices],
        # Plotly draws None as a gap. Four decimals keep the page small.
        y=[None if (y := metric_values[i]) is None else round(y, 4) for i in indices],
        name=_get_configuration_name(curve),
        legendgroup=_get_configuration_name(curve),
        mode="lines",
        line={"color": GRAY, "width": 1} if is_gray else {"color": color, "width": 1.5},
        hovertemplate=f"{curve.name}<br>%{{x:,}} clips<br>%{{y:.3f}}<extra>{curve.state}</extra>",
    )
