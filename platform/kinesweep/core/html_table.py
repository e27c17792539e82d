"""HTML tables of results, which notebooks show through `_repr_html_`."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def format_html_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table; every cell is escaped.

    Args:
        header: Titles of the columns; empty for a table without a header.
        rows: Cells of each row, as many as columns.
    """
    head = "".join(f"<th>{escape(title)}</th>" for title in header)
    lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{head and f'<thead><tr>{head}</tr></thead>'}<tbody>{body}</tbody></table>"


def format_html_key_values(title: str, values: Mapping[str, object]) -> str:
    """Return a bold title above a table of names and values."""
    return f"<p><b>{escape(title)}</b></p>{format_html_table((), values.items())}"
