"""A reader for the delimited text tables in which corpora publish their annotations.

`tsv.tsv_reader` does not read these tables, because they have other delimiters and fields that a
spreadsheet program may have quoted.
"""

from pathlib import Path

from kinesweep.sources.tsv.tsv_reader import TableError


def read_delimited_rows(
    path: Path, delimiter: str, required_columns: tuple[str, ...]
) -> tuple[list[tuple[int, dict[str, str]]], list[TableError]]:
    """Read the rows of a table with a header, and return them with the errors in the file.

    Fields may be quoted as spreadsheet programs do. A quotation mark inside a sentence is an
    ordinary character.

    Args:
        path: Path of the table, which must exist.
        delimiter: Separator between fields.
        required_columns: Columns that must exist.

    Returns:
        The line number of each row with its fields by column name, and all errors. If the file is
        not UTF-8 or lacks a required column, there are no rows.

    Raises:
        OSError: If the file cannot be read.
    """
    # Not the `csv` module: an unclosed quotation mark would swallow all lines after it.
    try:
        # Not `splitlines`, which also splits at Unicode separators inside a sentence.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        return [], [(path.name, f"is not UTF-8 ({error.reason} at byte {error.start})")]
    header = [_unquote_field(field) for field in lines[0].rstrip("\r").split(delimiter)]
    missing_columns = [column for column in required_columns if column not in header]
    if missing_columns:
        return [], [(f"{path.name}:1", f"has no column `{column}`") for column in missing_columns]
    rows, errors = [], []
    for line_number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        fields = [_unquote_field(field) for field in line.rstrip("\r").split(delimiter)]
        if len(fields) != len(header):
            errors.append(
                (f"{path.name}:{line_number}", f"has {len(fields)} fields, not {len(header)}")
            )
        else:
            rows.append((line_number, dict(zip(header, fields, strict=True))))
    return rows, errors


def _unquote_field(field: str) -> str:
    """Return a field without the quotation marks that a spreadsheet program added to it.

    Doubled quotation marks inside become single ones. A field that is not quoted in this way is
    returned unchanged.
    """
    inner = field[1:-1]
    # A spreadsheet doubles the marks inside; a single one means that the outer ones are text.
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')
