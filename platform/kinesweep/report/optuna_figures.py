"""Figures of the search: Optuna's visualizations of a study that is rebuilt from the trials."""

import warnings
from collections.abc import Callable
from typing import Any

import optuna
import optuna.visualization as vis
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState

from kinesweep.report.figures import LAYOUT, Figure
from kinesweep.report.report_data import Report

_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


def search_figures(report: Report) -> list[Figure]:
    """Draw history, parallel coordinates, importances, slices and, if there is one, the front."""
    study, first = build_study(report), next(iter(report.objectives))
    own, best = _targets(report)
    done = sum(trial.state == "finished" for trial in report.trials)
    # Plots of parameters need two finished trials and a parameter with more than one value. `repr`,
    # because values may be lists or mappings, which cannot be put into a set.
    varied = done >= 2 and len({repr(trial.values) for trial in report.trials}) > 1
    few = "" if varied else f"{done} finished trials are too few for this figure"
    names = list(report.objectives)
    figures = [
        _figure(
            "history",
            "Optimization history",
            f"{first} of each finished trial, and the best value so far.",
            lambda: vis.plot_optimization_history(study, **own),
            "" if done else few,
        ),
        _figure(
            "parallel",
            "Parallel coordinates",
            "Each line is a finished trial; ranges searched on a log scale have a log axis.",
            lambda: vis.plot_parallel_coordinate(study, **own),
            few,
        ),
        _figure(
            "importance",
            "Parameter importance",
            "How strongly each parameter distinguishes the best tenth of the trials (PED-ANOVA);"
            " only a hint if there are few trials.",
            lambda: vis.plot_param_importances(study, **best),
            few,
        ),
        _figure(
            "slice",
            "Slice plot",
            "Each parameter on its own; darker points are later trials.",
            lambda: vis.plot_slice(study, **own),
            few,
        ),
    ]
    if len(names) in (2, 3):
        front = _figure(
            "pareto",
            "Pareto front",
            "Highlighted trials are not dominated by any other trial.",
            lambda: vis.plot_pareto_front(study, target_names=names),
            "" if done else few,
        )
        figures.append(front)
    return figures


def _targets(report: Report) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return Optuna's keyword arguments for the first objective, for plots and for importances.

    With a custom target, Optuna's importances take the lowest values for the best, so the target is
    negated there.
    """
    named: dict[str, Any] = {"target_name": next(iter(report.objectives))}
    if len(report.objectives) == 1:
        return named, named

    def first(trial: FrozenTrial) -> float:
        return float(trial.values[0])

    return {**named, "target": first}, {**named, "target": lambda trial: -first(trial)}


def _figure(key: str, title: str, text: str, draw: Callable[[], go.Figure], missing: str) -> Figure:
    """Draw one of Optuna's figures in the layout of the page, or return the reason why not."""
    if missing:
        return Figure(key, title, text, None, missing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # known: experimental functions, custom targets
            drawn = draw()
    except (ValueError, RuntimeError) as error:
        return Figure(key, title, text, None, str(error))
    drawn.update_layout(**LAYOUT, title=None, width=None, autosize=True)
    return Figure(key, title, text, drawn)


def build_study(report: Report) -> optuna.Study:
    """Return an in-memory Optuna study with the trials of the report."""
    # Otherwise, Optuna logs the creation of the study.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    modes = {"max": "maximize", "min": "minimize"}
    study = optuna.create_study(directions=[modes[mode] for mode in report.objectives.values()])
    known = {
        name: optuna.distributions.json_to_distribution(facts["distribution"])
        for name, facts in report.parameters.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for trial in report.trials:
            # Fixed values are part of a trial but are not searched and have no distribution.
            own = {name: value for name, value in trial.values.items() if name in known}
            scores = [trial.scores[name] for name in report.objectives] if trial.scores else None
            study.add_trial(
                optuna.trial.create_trial(
                    params=own,
                    distributions={name: known[name] for name in own},
                    values=scores,
                    state=_STATES[trial.state],
                )
            )
    return study
