"""Writes a report: `index.html` that needs no network, `report.json`, `ranking.png`.

Plotly's script (4.8 MB) is part of the page, so that it opens from a mail years later; a sweep of
300 runs stays under 6 MB.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from kinesweep.report.curves import learning_curves
from kinesweep.report.evidence import Report
from kinesweep.report.html import for_script, replace_text, template
from kinesweep.report.picture import write_picture
from kinesweep.report.ranking import ranking
from kinesweep.report.search import search_figures

PAGE, DATA, PICTURE = "index.html", "report.json", "ranking.png"
_CONFIG = {"displaylogo": False, "responsive": True}


def write_report(folder: Path, report: Report) -> Path:
    """Writes the report's three files, replacing those of an earlier one. Returns the page.

    Images that it names lie in the folder already; they become part of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = json.dumps(asdict(report), ensure_ascii=False, allow_nan=False, indent=1)
    replace_text(folder / DATA, plain + "\n")
    beside = folder / f".{PICTURE}"
    write_picture(beside.with_suffix(".new.png"), report)
    beside.with_suffix(".new.png").replace(folder / PICTURE)
    replace_text(folder / PAGE, render(report, folder))
    return folder / PAGE


def render(report: Report, folder: Path) -> str:
    """The page; `folder` is where its images lie."""
    curves = learning_curves(report.curves, report.metric)
    figures = [ranking(report), *search_figures(report), curves]
    return template("report.html.j2").render(
        report=report,
        figures={figure.key: figure for figure in figures},
        later=[figure.key for figure in figures if figure.key != "ranking"],
        drawn={figure.key: _html(figure.drawn) for figure in figures if figure.drawn is not None},
        script=Markup(get_plotlyjs()),
        images={p.image: _embedded(folder / p.image) for p in report.pictures if p.image},
        samples=for_script([asdict(sample) for sample in report.samples]),
        states=_counts(report),
    )


def _counts(report: Report) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for trial in report.trials:
        counts[trial.state] = counts.get(trial.state, 0) + 1
    return counts


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _html(figure: go.Figure) -> Markup:
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG))
