"""The figures of a report, by Plotly; what Optuna draws of a study is Optuna's.

Each figure says why it is not there where a sweep has too little for it.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
import plotly.graph_objects as go
from optuna.trial import TrialState
from plotly.subplots import make_subplots

from kinesweep.report.evidence import Curve, Report

_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}
_BEST, _TIED, _BEHIND, _GREY = "#0b6e4f", "#5aa9a3", "#8d99ae", "#c9ccd1"
_LAYOUT = {
    "template": "plotly_white",
    "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
    "font": {"family": "system-ui, sans-serif", "size": 13},
}
_MOST_POINTS = 60
"""Of a curve; between them lines are straight."""
_MOST_LETTERS = 34


@dataclass(frozen=True)
class Figure:
    """A figure, or why there is none.

    Attributes:
        key: names it in the page.
        title: above it.
        text: what to see in it.
        drawn: by Plotly, or None.
        missing: why there is none.
    """

    key: str
    title: str
    text: str
    drawn: go.Figure | None
    missing: str = ""


def draw(report: Report) -> list[Figure]:
    """All figures but the ranking, in the order of the page."""
    study = _study(report)
    first = next(iter(report.objectives))
    alone = len(report.objectives) == 1
    of_first = None if alone else (lambda trial: float(trial.values[0]))
    own = {"target": of_first, "target_name": first}
    # Of a target of our own the importance takes the lowest values for the best.
    best = own if alone else {**own, "target": lambda trial: -float(trial.values[0])}
    done = sum(trial.state == "finished" for trial in report.trials)
    varied = done >= 2 and len({repr(t.values) for t in report.trials}) > 1
    few = "" if varied else f"{done} finished trials are too few"
    vis = optuna.visualization
    plots: list[tuple[str, str, str, Callable[[], go.Figure], str]] = [
        (
            "history",
            "Optimisation history",
            f"{first} of each finished trial, and the best so far.",
            lambda: vis.plot_optimization_history(study, **own),
            "" if done else few,
        ),
        (
            "parallel",
            "Parallel coordinates",
            "Each line is a finished trial; ranges that were searched on a log scale are drawn so.",
            lambda: vis.plot_parallel_coordinate(study, **own),
            few,
        ),
        (
            "importance",
            "Parameter importance",
            "How far each parameter sets the best tenth of the trials apart (PED-ANOVA); with few"
            " trials a hint, no finding.",
            lambda: vis.plot_param_importances(study, **best),
            few,
        ),
        (
            "slice",
            "Each parameter by itself",
            "Finished trials; the darker, the later.",
            lambda: vis.plot_slice(study, **own),
            few,
        ),
    ]
    if len(report.objectives) in (2, 3):
        names = list(report.objectives)
        plots.append(
            (
                "pareto",
                "Pareto front",
                "Trials that no other one beats in every objective stand out.",
                lambda: vis.plot_pareto_front(study, target_names=names),
                "" if done else few,
            )
        )
    return [_figure(*plot) for plot in plots] + [_curves(report.curves, report.metric)]


def ranking(report: Report) -> Figure:
    """Means with their intervals, the best on top; each seed's score as a small mark."""
    lines = list(reversed(report.ranking))
    best = report.ranking[0]["name"]
    colors = [
        _BEST if line["name"] == best else _TIED if line["tied"] else _BEHIND for line in lines
    ]
    names = [_label(report, line["name"]) for line in lines]
    drawn = go.Figure()
    for name, line, color in zip(names, lines, colors, strict=True):
        seeds = list(line["scores"].values())
        drawn.add_trace(
            go.Scatter(
                x=seeds,
                y=[name] * len(seeds),
                mode="markers",
                marker={"symbol": "line-ns-open", "size": 11, "color": color},
                hovertemplate=f"{report.metric} %{{x:.2f}}<extra>one seed</extra>",
            )
        )
        drawn.add_trace(
            go.Scatter(
                x=[line["mean"]],
                y=[name],
                mode="markers",
                marker={"size": 12, "color": color},
                error_x={
                    "array": [line["high"] - line["mean"]],
                    "arrayminus": [line["mean"] - line["low"]],
                    "color": color,
                    "thickness": 2,
                },
                hovertemplate=f"{report.metric} %{{x:.2f}}<extra>mean, 95 %</extra>",
            )
        )
    if report.sanity:
        drawn.add_trace(
            go.Scatter(
                x=list(report.sanity.values()),
                y=[_short(name) for name in report.sanity],
                mode="markers",
                marker={"symbol": "diamond-open", "size": 10, "color": _BEHIND},
                hovertemplate=f"{report.metric} %{{x:.2f}}<extra>knows nothing</extra>",
            )
        )
    drawn.update_yaxes(
        categoryorder="array", categoryarray=[*map(_short, reversed(list(report.sanity))), *names]
    )
    drawn.update_layout(
        **_LAYOUT, showlegend=False, height=110 + 40 * (len(lines) + len(report.sanity))
    )
    drawn.update_xaxes(
        title=f"{report.metric} on validation, mean over seeds and its 95 % interval"
    )
    text = (
        "Green is the best; teal is not told apart from it; grey is behind. Small marks are seeds,"
        " diamonds what has learnt nothing."
    )
    return Figure("ranking", "Ranking", text, drawn)


def _short(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"


def _label(report: Report, name: str) -> str:
    level = report.levels.get(name, "")
    return f"{name} ({level})" if level else name


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
    drawn.update_layout(**_LAYOUT, title=None)
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


def _curves(curves: Sequence[Curve], metric: str) -> Figure:
    """Loss and score over clips seen; runs that were pruned in grey, below the others."""
    title, text = "Learning curves", "Validation during training. Pruned runs are grey."
    shown = [name for name in ("token_loss", metric) if any(name in c.measured for c in curves)]
    if not shown:
        return Figure("curves", title, text, None, "no run was evaluated")
    drawn = make_subplots(rows=1, cols=len(shown), subplot_titles=shown)
    order = {"pruned": 0, "failed": 1}
    for curve in sorted(curves, key=lambda c: order.get(c.state, 2)):
        for column, name in enumerate(shown, start=1):
            if name in curve.measured:
                drawn.add_trace(_line(curve, name, first=column == 1), row=1, col=column)
    drawn.update_layout(**_LAYOUT, height=460, hovermode="closest")
    drawn.update_xaxes(title="clips seen")
    return Figure("curves", title, text, drawn)


def _line(curve: Curve, metric: str, first: bool) -> go.Scatter:
    """One run's curve; runs of one configuration share a switch in the legend."""
    every = max(1, len(curve.samples) // _MOST_POINTS)
    keep = [i for i in range(len(curve.samples)) if i % every == 0 or i == len(curve.samples) - 1]
    measured = curve.measured[metric]
    grey = curve.state in ("pruned", "failed")
    line = {"color": _GREY, "width": 1} if grey else {"width": 1.5}
    return go.Scatter(
        x=[curve.samples[i] for i in keep],
        y=[None if (y := measured[i]) is None else round(y, 4) for i in keep],
        name=f"{curve.name}{' (pruned)' if curve.state == 'pruned' else ''}",
        legendgroup=curve.name,
        showlegend=first and not grey,
        mode="lines",
        line=line,
        hovertemplate=f"{curve.name}<br>%{{x:,}} clips<br>%{{y:.3f}}<extra>{curve.state}</extra>",
    )
