"""What figures share: their form, colours, and that a missing one says why it is missing."""

from dataclasses import dataclass

import plotly.graph_objects as go

BEST, TIED, BEHIND, GREY = "#0b6e4f", "#5aa9a3", "#8d99ae", "#c9ccd1"
LAYOUT = {
    "template": "plotly_white",
    "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
    "font": {"family": "system-ui, sans-serif", "size": 13},
}


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


def color_of(name: str, tied: bool, winner: str) -> str:
    """Of a line of the ranking."""
    return BEST if name == winner else TIED if tied else BEHIND
