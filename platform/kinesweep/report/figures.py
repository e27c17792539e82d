"""Common parts of the figures: layout, colors, and the reason if a figure is missing."""

from dataclasses import dataclass

import plotly.graph_objects as go

# Colors of the best configuration, those tied with it, those behind, and pruned or failed runs.
BEST, TIED, BEHIND, GRAY = "#0b6e4f", "#5aa9a3", "#8d99ae", "#c9ccd1"
LAYOUT = {
    "template": "plotly_white",
    "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
    "font": {"family": "system-ui, sans-serif", "size": 13},
}


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report, or the reason why it is missing.

    Attributes:
        key: Identifier in the page.
        title: Heading above the figure.
        text: Caption that explains the figure.
        plot: Plotly figure, or None.
        missing: Reason why there is no figure; empty otherwise.
    """

    key: str
    title: str
    text: str
    plot: go.Figure | None
    missing: str = ""


def get_rank_color(name: str, is_tied: bool, winner: str) -> str:
    """Return the color of a line of the ranking: best, tied with the best, or behind."""
    return BEST if name == winner else TIED if is_tied else BEHIND
