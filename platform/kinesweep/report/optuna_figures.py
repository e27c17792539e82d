"""Figures of the search: Optuna's visualizations of a study that is rebuilt from the trials."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import optuna
import optuna.visualization as vis
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState
from plotly.subplots import make_subplots

from kinesweep.report.figures import GRAY, LAYOUT, ReportFigure
from kinesweep.report.report_data import SweepReport

# Plots in one row of a wrapped figure, and the height of a row in pixels.
_COLUMNS, _ROW_HEIGHT = 3, 320
_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


def draw_search_figures(report: SweepReport) -> list[ReportFigure]:
    """Draw Optuna's plots of the search; for two or three objectives, the Pareto front as well."""
    study, first_objective = (
        build_study(report, shorten_parameter_names(report.parameters)),
        next(iter(report.objectives)),
    )
    plot_arguments, importance_arguments = _build_target_arguments(report)
    num_finished = sum(trial.state == "finished" for trial in report.trials)
    # Plots of parameters need two finished trials and a parameter with more than one value. `repr`,
    # because values may be lists or mappings, which cannot be put into a set.
    has_variation = num_finished >= 2 and len({repr(trial.values) for trial in report.trials}) > 1
    missing_reason = (
        "" if has_variation else f"{num_finished} finished trials are too few for this figure"
    )
    names = list(report.objectives)
    figures = [
        _draw_figure(
            "history",
            "Optimization history",
            f"{first_objective} of each finished trial, and the best value so far.",
            lambda: vis.plot_optimization_history(study, **plot_arguments),
            "" if num_finished else missing_reason,
        ),
        _draw_figure(
            "parallel",
            "Parallel coordinates",
            "Each line is a finished trial; ranges searched on a log scale have a log axis.",
            # Optuna draws poor trials in white, which is invisible on a white background.
            lambda: vis.plot_parallel_coordinate(study, **plot_arguments).update_layout(
                plot_bgcolor=GRAY
            ),
            missing_reason,
        ),
        _draw_figure(
            "importance",
            "Parameter importance",
            "How strongly each parameter distinguishes the best tenth of the trials (PED-ANOVA);"
            " only a hint if there are few trials.",
            lambda: vis.plot_param_importances(study, **importance_arguments),
            missing_reason,
        ),
        _draw_figure(
            "slice",
            "Slice plot",
            "Each parameter on its own; darker points are later trials.",
            lambda: wrap_columns(vis.plot_slice(study, **plot_arguments)),
            missing_reason,
        ),
    ]
    if len(names) in (2, 3):
        front = _draw_figure(
            "pareto",
            "Pareto front",
            "Highlighted trials are not dominated by any other trial.",
            lambda: vis.plot_pareto_front(study, target_names=names),
            "" if num_finished else missing_reason,
        )
        figures.append(front)
    return figures


def _build_target_arguments(report: SweepReport) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return Optuna's keyword arguments for the first objective, for plots and for importances.

    With a custom target, Optuna's importances take the lowest values for the best, so the target is
    negated there.
    """
    arguments: dict[str, Any] = {"target_name": next(iter(report.objectives))}
    if len(report.objectives) == 1:
        return arguments, arguments

    def get_first_value(trial: FrozenTrial) -> float:
        return float(trial.values[0])

    return {**arguments, "target": get_first_value}, {
        **arguments,
        "target": lambda trial: -get_first_value(trial),
    }


def _draw_figure(
    key: str, title: str, text: str, draw_plot: Callable[[], go.Figure], missing_reason: str
) -> ReportFigure:
    """Draw one of Optuna's figures in the layout of the page, or return the reason why not."""
    if missing_reason:
        return ReportFigure(key, title, text, None, missing_reason)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # known: experimental functions, custom targets
            plot = draw_plot()
    except (ValueError, RuntimeError) as error:
        return ReportFigure(key, title, text, None, str(error))
    plot.update_layout(**LAYOUT, title=None, width=None, autosize=True)
    return ReportFigure(key, title, text, plot)


def shorten_parameter_names(names: Iterable[str]) -> dict[str, str]:
    """Return dotted name → its shortest unique end, so that names fit below an axis.

    For example, `model.encoder.dropout` becomes `dropout`, or `encoder.dropout` if another name
    ends in `dropout` too.
    """
    dotted = {name: name.split(".") for name in names}

    def shorten(name: str) -> str:
        parts = dotted[name]
        for length in range(1, len(parts)):
            end = parts[-length:]
            if sum(other[-length:] == end for other in dotted.values()) == 1:
                return ".".join(end)
        return name

    return {name: shorten(name) for name in dotted}


def wrap_columns(figure: go.Figure) -> go.Figure:
    """Return a figure of plots in one row as a figure of rows, so that their axis titles fit.

    Args:
        figure: Optuna's slice plot: one trace and one x axis per parameter.
    """
    if not figure.data:  # no parameter has a value in two finished trials
        return figure
    rows = -(-len(figure.data) // _COLUMNS)
    wrapped = make_subplots(rows=rows, cols=_COLUMNS, vertical_spacing=0.3 / rows)
    for number, trace in enumerate(figure.data):
        row, column = number // _COLUMNS + 1, number % _COLUMNS + 1
        axis = figure.layout["xaxis" if number == 0 else f"xaxis{number + 1}"]
        wrapped.add_trace(trace, row=row, col=column)
        axis_settings = {
            key: axis[key] for key in ("type", "categoryorder", "categoryarray") if axis[key]
        }
        wrapped.update_xaxes(title=axis.title.text, **axis_settings, row=row, col=column)
        if column == 1:
            wrapped.update_yaxes(title=figure.layout.yaxis.title.text, row=row, col=column)
    wrapped.update_layout(showlegend=False, height=_ROW_HEIGHT * rows)
    return wrapped


def build_study(report: SweepReport, names: Mapping[str, str] | None = None) -> optuna.Study:
    """Return an in-memory Optuna study with the trials of the report.

    Args:
        report: Data of the report.
        names: Parameter → name in the study; None: the names of the search space.
    """
    # Otherwise, Optuna logs the creation of the study.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    modes = {"max": "maximize", "min": "minimize"}
    study = optuna.create_study(directions=[modes[mode] for mode in report.objectives.values()])
    distributions = {
        name: optuna.distributions.json_to_distribution(facts["distribution"])
        for name, facts in report.parameters.items()
    }

    def get_study_name(name: str) -> str:
        return name if names is None else names[name]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for trial in report.trials:
            # Fixed values are part of a trial but are not searched and have no distribution.
            searched_values = {
                name: value for name, value in trial.values.items() if name in distributions
            }
            scores = [trial.scores[name] for name in report.objectives] if trial.scores else None
            study.add_trial(
                optuna.trial.create_trial(
                    params={get_study_name(name): value for name, value in searched_values.items()},
                    distributions={
                        get_study_name(name): distributions[name] for name in searched_values
                    },
                    values=scores,
                    state=_STATES[trial.state],
                )
            )
    return study
