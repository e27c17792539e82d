"""Write a report: a self-contained `index.html`, `report.json` and `ranking.png`.

Plotly's script (4.8 MB) is embedded in the page, so that it can be mailed and still opens years
later. The page of a sweep with 300 runs stays below 6 MB.
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
from kinesweep.report.html import for_script, replace_text, template
from kinesweep.report.optuna_figures import search_figures
from kinesweep.report.picture import write_picture
from kinesweep.report.ranking import ranking
from kinesweep.report.report_data import Report

PAGE, DATA, PICTURE = "index.html", "report.json", "ranking.png"
_CONFIG = {"displaylogo": False, "responsive": True}


def write_report(folder: Path, report: Report) -> Path:
    """Write the three files of a report, replacing earlier ones, and return the page's path.

    Args:
        folder: Folder of the report; it already contains the images that the report names.
        report: Data of the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # `allow_nan=False`: NaN is not valid JSON, and `report.json` is read by other programs.
    plain = json.dumps(asdict(report), ensure_ascii=False, allow_nan=False, indent=1)
    replace_text(folder / DATA, plain + "\n")
    # Renamed like the other files; matplotlib needs a name that ends in .png.
    beside = folder / f".{PICTURE}"
    write_picture(beside.with_suffix(".new.png"), report)
    beside.with_suffix(".new.png").replace(folder / PICTURE)
    replace_text(folder / PAGE, render(report, folder))
    return folder / PAGE


def render(report: Report, folder: Path) -> str:
    """Return the HTML of the page, with the images in `folder` embedded."""
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
    """Return state → number of trials."""
    counts: dict[str, int] = {}
    for trial in report.trials:
        counts[trial.state] = counts.get(trial.state, 0) + 1
    return counts


def _embedded(path: Path) -> str:
    """Return a PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _html(figure: go.Figure) -> Markup:
    """Return a figure as an HTML fragment without Plotly's script, which the page has once."""
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG))
