"""Write a report: a self-contained `index.html`, `report.json` and `ranking.png`.

Plotly's script (4.8 MB) is embedded in the page, so that it can be mailed and still opens years
later. The page of a sweep with 300 runs stays below 6 MB.
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from kinesweep.core.io import write_json, write_text
from kinesweep.report.curves import draw_learning_curves
from kinesweep.report.html import encode_script_json, load_template
from kinesweep.report.optuna_figures import draw_search_figures
from kinesweep.report.ranking import draw_ranking
from kinesweep.report.ranking_image import write_ranking_image
from kinesweep.report.report_data import SweepReport

PAGE_FILE, DATA_FILE, IMAGE_FILE = "index.html", "report.json", "ranking.png"
_CONFIG = {"displaylogo": False, "responsive": True}


def write_report(folder: Path, report: SweepReport) -> Path:
    """Write the three files of a report, each atomically, replacing those of an earlier report.

    Args:
        folder: Folder of the report; it already contains the images that the report names.
        report: Data of the report.

    Returns:
        Path of the page.

    Raises:
        OSError: If an image that the report names cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / DATA_FILE, asdict(report))
    # Renamed like the other files; matplotlib needs a name that ends in .png.
    temporary_path = (folder / f".{IMAGE_FILE}").with_suffix(".new.png")
    write_ranking_image(temporary_path, report)
    temporary_path.replace(folder / IMAGE_FILE)
    write_text(folder / PAGE_FILE, render_report_page(report, folder))
    return folder / PAGE_FILE


def render_report_page(report: SweepReport, folder: Path) -> str:
    """Render the HTML page of a report, with the images in `folder` embedded.

    Args:
        report: Data of the report.
        folder: Folder that contains the images that the report names.

    Raises:
        OSError: If an image cannot be read.
    """
    curves = draw_learning_curves(report.curves, report.metric)
    figures = [draw_ranking(report), *draw_search_figures(report), curves]
    return load_template("report.html.j2").render(
        report=report,
        figures={figure.key: figure for figure in figures},
        search_figure_keys=[figure.key for figure in figures if figure.key != "ranking"],
        figure_html={
            figure.key: _render_figure_html(figure.plot)
            for figure in figures
            if figure.plot is not None
        },
        plotly_script=Markup(get_plotlyjs()),
        image_urls={
            picture.image: _encode_data_url(folder / picture.image)
            for picture in report.pictures
            if picture.image
        },
        samples=encode_script_json([asdict(sample) for sample in report.samples]),
        trial_counts=_count_trials_by_state(report),
    )


def _count_trials_by_state(report: SweepReport) -> Mapping[str, int]:
    """Return state → number of trials of the search in this state."""
    counts: dict[str, int] = {}
    for trial in report.trials:
        counts[trial.state] = counts.get(trial.state, 0) + 1
    return counts


def _encode_data_url(path: Path) -> str:
    """Return a PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _render_figure_html(figure: go.Figure) -> Markup:
    """Return a figure as an HTML fragment without Plotly's script, which the page embeds once."""
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG))
