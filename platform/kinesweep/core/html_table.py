"""HTML tables of results, which notebooks show through `_repr_html_`."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def format_html_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format an HTML table whose cells are escaped.

    Args:
        header: Titles of the columns; empty for a table without a header.
        rows: Cells of each row, one for each column; any object is shown as its `str`.
    """
    head = "".join(f"<th>{escape(title)}</th>" for title in header)
    html_rows = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{html_row}</tr>" for html_row in html_rows)
    return f"<table>{head and f'<thead><tr>{head}</tr></thead>'}<tbody>{body}</tbody></table>"


def format_html_key_values(title: str, values: Mapping[str, object]) -> str:
    """Format a bold title above an HTML table of names and values; all texts are escaped."""
    return f"<p><b>{escape(title)}</b></p>{format_html_table((), values.items())}"
