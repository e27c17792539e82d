"""The writer of all tab-separated tables, which `delimited_text`, pandas and `csv` read back."""

from collections.abc import Iterable

_LINE_BREAKS_AND_TABS = "\t\n\r"


def format_table(rows: Iterable[Iterable[object]]) -> str:
    """Format the rows of a table, the header first, as tab-separated lines."""
    return "".join(f"{format_row(row)}\n" for row in rows)


def format_row(fields: Iterable[object]) -> str:
    """Format one row without its line feed; fields are quoted only where they must be.

    A quotation mark inside a sentence stays as it is, because readers without quoting, such as that
    of SSVP-SLT, would show it doubled.
    """
    return "\t".join(_format_field(str(field)) for field in fields)


def _format_field(text: str) -> str:
    """Quote a field that begins with a quotation mark or contains a tab or a line break."""
    if text.startswith('"') or any(character in text for character in _LINE_BREAKS_AND_TABS):
        return '"' + text.replace('"', '""') + '"'
    return text
