"""The search as figures: Optuna's own, on a study made again from the trials."""

import warnings
from collections.abc import Callable
from typing import Any

import optuna
import optuna.visualization as vis
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState

from kinesweep.report.evidence import Report
from kinesweep.report.figures import LAYOUT, Figure

_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


def search_figures(report: Report) -> list[Figure]:
    """History, parallel coordinates, importance, slices; the front of two or three objectives."""
    study, first = _study(report), next(iter(report.objectives))
    own, best = _targets(report)
    done = sum(trial.state == "finished" for trial in report.trials)
    varied = done >= 2 and len({repr(trial.values) for trial in report.trials}) > 1
    few = "" if varied else f"{done} finished trials are too few"
    names = list(report.objectives)
    figures = [
        _figure(
            "history",
            "Optimisation history",
            f"{first} of each finished trial, and the best so far.",
            lambda: vis.plot_optimization_history(study, **own),
            "" if done else few,
        ),
        _figure(
            "parallel",
            "Parallel coordinates",
            "Each line is a finished trial; ranges that were searched on a log scale are drawn so.",
            lambda: vis.plot_parallel_coordinate(study, **own),
            few,
        ),
        _figure(
            "importance",
            "Parameter importance",
            "How far each parameter sets the best tenth of the trials apart (PED-ANOVA); with few"
            " trials a hint, no finding.",
            lambda: vis.plot_param_importances(study, **best),
            few,
        ),
        _figure(
            "slice",
            "Each parameter by itself",
            "Finished trials; the darker, the later.",
            lambda: vis.plot_slice(study, **own),
            few,
        ),
    ]
    if len(names) in (2, 3):
        front = _figure(
            "pareto",
            "Pareto front",
            "Trials that no other one beats in every objective stand out.",
            lambda: vis.plot_pareto_front(study, target_names=names),
            "" if done else few,
        )
        figures.append(front)
    return figures


def _targets(report: Report) -> tuple[dict[str, Any], dict[str, Any]]:
    """Optuna's arguments for the first objective: where its values are drawn, and for importance.

    Of a target of our own the importance takes the lowest values for the best.
    """
    named: dict[str, Any] = {"target_name": next(iter(report.objectives))}
    if len(report.objectives) == 1:
        return named, named

    def first(trial: FrozenTrial) -> float:
        return float(trial.values[0])

    return {**named, "target": first}, {**named, "target": lambda trial: -first(trial)}


def _figure(key: str, title: str, text: str, draw: Callable[[], go.Figure], missing: str) -> Figure:
    """One of Optuna's figures in the page's clothes; what it cannot draw is said."""
    if missing:
        return Figure(key, title, text, None, missing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna on what we know: experimental, our own target
            drawn = draw()
    except (ValueError, RuntimeError) as error:
        return Figure(key, title, text, None, str(error))
    drawn.update_layout(**LAYOUT, title=None, width=None, autosize=True)
    return Figure(key, title, text, drawn)


def _study(report: Report) -> optuna.Study:
    """The trials as Optuna knows them."""
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
