"""Writes a report: `index.html` that needs no network, `report.json`, `ranking.png`.

Plotly's script (4.8 MB) is part of the page, so that it opens from a mail years later; a sweep of
300 runs stays under 6 MB.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from kinesweep.report.curves import learning_curves
from kinesweep.report.evidence import Report
from kinesweep.report.picture import write_picture
from kinesweep.report.ranking import ranking
from kinesweep.report.search import search_figures

PAGE, DATA, PICTURE = "index.html", "report.json", "ranking.png"
_CONFIG = {"displaylogo": False, "responsive": True}


def write_report(folder: Path, report: Report) -> Path:
    """Writes the report's three files, replacing those of an earlier one. Returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = json.dumps(asdict(report), ensure_ascii=False, allow_nan=False, indent=1)
    _replace(folder / DATA, plain + "\n")
    beside = folder / f".{PICTURE}"
    write_picture(beside.with_suffix(".new.png"), report)
    beside.with_suffix(".new.png").replace(folder / PICTURE)
    _replace(folder / PAGE, render(report))
    return folder / PAGE


def render(report: Report) -> str:
    """The page."""
    curves = learning_curves(report.curves, report.metric)
    figures = [ranking(report), *search_figures(report), curves]
    return _template().render(
        report=report,
        figures={figure.key: figure for figure in figures},
        later=[figure.key for figure in figures if figure.key != "ranking"],
        drawn={figure.key: _html(figure.drawn) for figure in figures if figure.drawn is not None},
        script=Markup(get_plotlyjs()),
        samples=_for_script([asdict(sample) for sample in report.samples]),
        states=_counts(report),
    )


def _counts(report: Report) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for trial in report.trials:
        counts[trial.state] = counts.get(trial.state, 0) + 1
    return counts


def _html(figure: go.Figure) -> Markup:
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG))


def _for_script(value: object) -> Markup:
    """JSON that no text of a corpus can break out of."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


@cache
def _template() -> jinja2.Template:
    text = resources.files("kinesweep.report") / "templates" / "report.html.j2"
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = _shown
    return environment.from_string(text.read_text(encoding="utf-8"))


def _shown(value: object) -> str:
    """A value in a table cell."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
