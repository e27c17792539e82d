"""Draw the ranking as a PNG for slides, with matplotlib and without a browser."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kinesweep.report.figures import GRAY, get_rank_color
from kinesweep.report.report_data import SweepReport

_DPI = 150


def write_ranking_image(path: Path, report: SweepReport) -> None:
    """Draw the ranking into a PNG file, with the best configuration on top.

    Each configuration has its mean with the 95 % interval, and the score of each seed as a small
    mark. Sanity baselines are dotted lines.

    Args:
        path: Output file; its name ends in `.png`.
        report: Data of the report.
    """
    configurations = list(reversed(report.ranking))
    # A figure of its own instead of pyplot, which has global state and may select a GUI backend.
    figure = Figure(figsize=(9, 1.6 + 0.5 * len(configurations)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for position, configuration in enumerate(configurations):
        mean = configuration["mean"]
        color = get_rank_color(configuration["name"], configuration["tied"], report.winner)
        error = [[mean - configuration["low"]], [configuration["high"] - mean]]
        axes.errorbar(mean, position, xerr=error, fmt="o", color=color, capsize=4)
        seed_scores = list(configuration["scores"].values())
        axes.plot(seed_scores, [position] * len(seed_scores), "|", color=color, markersize=10)
    for score in report.sanity.values():
        axes.axvline(score, color=GRAY, linestyle=":", linewidth=1)
    names = [configuration["name"] for configuration in configurations]
    axes.set_yticks(range(len(names)), names)
    baselines_label = "; dotted: sanity baselines" if report.sanity else ""
    axes.set_xlabel(
        f"{report.metric} on validation, mean over seeds, 95 % interval{baselines_label}"
    )
    axes.set_title(report.question, loc="left", fontsize=10, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=_DPI)
