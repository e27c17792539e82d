"""Draw the ranking as a PNG for slides, with matplotlib and without a browser."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kinesweep.report.figures import GRAY, get_rank_color
from kinesweep.report.report_data import SweepReport

_DPI = 150


def write_ranking_image(path: Path, report: SweepReport) -> None:
    """Draw means with their 95 % intervals, each seed's score, and baselines as dotted lines."""
    lines = list(reversed(report.ranking))
    # A figure of its own instead of pyplot, which has global state and may select a GUI backend.
    figure = Figure(figsize=(9, 1.6 + 0.5 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for position, line in enumerate(lines):
        color = get_rank_color(line["name"], line["tied"], report.winner)
        interval = [[line["mean"] - line["low"]], [line["high"] - line["mean"]]]
        axes.errorbar(line["mean"], position, xerr=interval, fmt="o", color=color, capsize=4)
        seeds = list(line["scores"].values())
        axes.plot(seeds, [position] * len(seeds), "|", color=color, markersize=10)
    for score in report.sanity.values():
        axes.axvline(score, color=GRAY, linestyle=":", linewidth=1)
    axes.set_yticks(range(len(lines)), [line["name"] for line in lines])
    dotted = "; dotted: sanity baselines" if report.sanity else ""
    axes.set_xlabel(f"{report.metric} on validation, mean over seeds, 95 % interval{dotted}")
    axes.set_title(report.question, loc="left", fontsize=10, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=_DPI)
