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
    """Draw Optuna's plots of the search; for two or three objectives, the Pareto front as well.

    Args:
        report: Data of the report.

    Returns:
        The figures in their order on the page. A figure that needs more finished trials has no plot
        but the reason.
    """
    study = build_study(report, shorten_parameter_names(report.parameters))
    objective_names = list(report.objectives)
    plot_arguments, importance_arguments = _build_target_arguments(report)
    num_finished = sum(trial.state == "finished" for trial in report.trials)
    too_few_trials = f"{num_finished} finished trials are too few for this figure"
    figures = [
        _draw_figure(
            "history",
            "Optimization history",
            f"{objective_names[0]} of each finished trial, and the best value so far.",
            lambda: vis.plot_optimization_history(study, **plot_arguments),
            "" if num_finished else too_few_trials,
        )
    ]
    # Plots of parameters need two finished trials and a parameter with more than one value. `repr`,
    # because values may be lists or mappings, which cannot be put into a set.
    has_variation = num_finished >= 2 and len({repr(trial.values) for trial in report.trials}) > 1
    figures += _draw_parameter_figures(
        study, plot_arguments, importance_arguments, "" if has_variation else too_few_trials
    )
    # Optuna draws Pareto fronts in two or three dimensions only.
    if len(objective_names) in (2, 3):
        pareto_front = _draw_figure(
            "pareto",
            "Pareto front",
            "Highlighted trials are not dominated by any other trial.",
            lambda: vis.plot_pareto_front(study, target_names=objective_names),
            "" if num_finished else too_few_trials,
        )
        figures.append(pareto_front)
    return figures


def _draw_parameter_figures(
    study: optuna.Study,
    plot_arguments: Mapping[str, Any],
    importance_arguments: Mapping[str, Any],
    missing_reason: str,
) -> list[ReportFigure]:
    """Draw parallel coordinates, the importance of the parameters, and a slice plot.

    Args:
        study: Study with the trials of the search.
        plot_arguments: Optuna's keyword arguments for plots of the first objective.
        importance_arguments: The same for importances.
        missing_reason: Reason why the figures cannot be drawn; empty to draw them.
    """
    return [
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
            lambda: wrap_subplot_row(vis.plot_slice(study, **plot_arguments)),
            missing_reason,
        ),
    ]


def _build_target_arguments(report: SweepReport) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return Optuna's keyword arguments for the first objective, for plots and for importances.

    With a custom target, Optuna's importances consider the lowest values the best ones, so the
    target is negated there.
    """
    arguments: dict[str, Any] = {"target_name": next(iter(report.objectives))}
    if len(report.objectives) == 1:
        return arguments, arguments

    def get_first_value(trial: FrozenTrial) -> float:
        """Return a trial's value of the first objective."""
        return float(trial.values[0])

    importance_target = {"target": lambda trial: -get_first_value(trial)}
    return {**arguments, "target": get_first_value}, {**arguments, **importance_target}


def _draw_figure(
    key: str, title: str, caption: str, draw_plot: Callable[[], go.Figure], missing_reason: str
) -> ReportFigure:
    """Draw one of Optuna's figures in the layout of the page.

    Args:
        key: Identifier in the page.
        title: Heading above the figure.
        caption: Text that explains the figure.
        draw_plot: Function that draws the plot.
        missing_reason: Reason why the plot cannot be drawn; empty to draw it.

    Returns:
        The figure; without a plot but with the reason if there is one or Optuna raises an error.
    """
    if missing_reason:
        return ReportFigure(key, title, caption, None, missing_reason)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # known: experimental functions, custom targets
            plot = draw_plot()
    except (ValueError, RuntimeError) as error:
        return ReportFigure(key, title, caption, None, str(error))
    plot.update_layout(**LAYOUT, title=None, width=None, autosize=True)
    return ReportFigure(key, title, caption, plot)


def shorten_parameter_names(names: Iterable[str]) -> dict[str, str]:
    """Return dotted name → its shortest unique last components, so that names fit below an axis.

    For example, `model.encoder.dropout` becomes `dropout`, or `encoder.dropout` if another name
    ends in `dropout` too.
    """
    components_by_name = {name: name.split(".") for name in names}

    def shorten(name: str) -> str:
        """Return the shortest suffix of a name that no other name has."""
        components = components_by_name[name]
        for length in range(1, len(components)):
            suffix = components[-length:]
            num_matches = sum(
                other_components[-length:] == suffix
                for other_components in components_by_name.values()
            )
            if num_matches == 1:
                return ".".join(suffix)
        return name

    return {name: shorten(name) for name in components_by_name}


def wrap_subplot_row(figure: go.Figure) -> go.Figure:
    """Return a copy of a figure whose single row of plots is wrapped, so that axis titles fit.

    Args:
        figure: Optuna's slice plot: one trace and one x axis per parameter.

    Returns:
        Figure with three plots in each row; `figure` itself if it has no traces.
    """
    if not figure.data:  # no parameter has a value in two finished trials
        return figure
    num_rows = -(-len(figure.data) // _COLUMNS)
    wrapped = make_subplots(rows=num_rows, cols=_COLUMNS, vertical_spacing=0.3 / num_rows)
    for index, trace in enumerate(figure.data):
        row, column = index // _COLUMNS + 1, index % _COLUMNS + 1
        # Plotly calls the first axis `xaxis`, and the others `xaxis2`, `xaxis3` and so on.
        axis = figure.layout["xaxis" if index == 0 else f"xaxis{index + 1}"]
        wrapped.add_trace(trace, row=row, col=column)
        axis_settings = {
            key: axis[key] for key in ("type", "categoryorder", "categoryarray") if axis[key]
        }
        wrapped.update_xaxes(title=axis.title.text, **axis_settings, row=row, col=column)
        if column == 1:
            wrapped.update_yaxes(title=figure.layout.yaxis.title.text, row=row, col=column)
    wrapped.update_layout(showlegend=False, height=_ROW_HEIGHT * num_rows)
    return wrapped


def build_study(report: SweepReport, study_names: Mapping[str, str] | None = None) -> optuna.Study:
    """Build an in-memory Optuna study with the trials of a report.

    From then on, Optuna logs errors only in this process.

    Args:
        report: Data of the report.
        study_names: Parameter → its name in the study; None keeps the names of the search space.
    """
    # Otherwise, Optuna logs the creation of the study.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    modes = {"max": "maximize", "min": "minimize"}
    study = optuna.create_study(directions=[modes[mode] for mode in report.objectives.values()])
    distributions = {
        name: optuna.distributions.json_to_distribution(parameter["distribution"])
        for name, parameter in report.parameters.items()
    }

    def get_study_name(name: str) -> str:
        """Return the name of a parameter in the study."""
        return name if study_names is None else study_names[name]

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
