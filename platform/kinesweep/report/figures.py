"""Common parts of the report's figures: layout, colors, and the figure with its caption."""

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
        caption: Text that explains the figure.
        plot: Plotly figure; None if it is missing.
        missing_reason: Reason why there is no figure; empty otherwise.
    """

    key: str
    title: str
    caption: str
    plot: go.Figure | None
    missing_reason: str = ""


def get_rank_color(name: str, is_tied: bool, winner: str) -> str:
    """Return the color of a configuration in the ranking: best, tied with the best, or behind.

    Args:
        name: Name of the configuration.
        is_tied: Whether it is not significantly different from the best one.
        winner: Name of the best configuration.
    """
    return BEST if name == winner else TIED if is_tied else BEHIND
