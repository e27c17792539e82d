"""The tables in which corpora publish their annotations, as dictionaries of their fields.

They have several delimiters and more columns than are needed, and are read like all tables
(`tsv.tsv_reader`).
"""

from pathlib import Path

from kinesweep.sources.tsv.tsv_reader import TableError, find_other_delimiter, read_table


def read_delimited_rows(
    path: Path, delimiter: str, required_columns: tuple[str, ...]
) -> tuple[list[tuple[int, dict[str, str]]], list[TableError]]:
    """Read the rows of a table with a header, and return them with the errors in the file.

    Args:
        path: Path of the table.
        delimiter: Separator between fields.
        required_columns: Columns that must exist.

    Returns:
        The line number of each row with its fields by column name, and all errors. If the file
        cannot be read, or lacks or repeats a column, there are no rows.
    """
    table = read_table(path, path.name, delimiter=delimiter)
    if not table.header:
        return [], list(table.errors)
    location, header = f"{path.name}:1", table.header
    other_delimiter = find_other_delimiter(header)
    hint = f"; its fields are separated by {other_delimiter}" if other_delimiter else ""
    errors = [
        (location, f"has no column `{column}`{hint}")
        for column in required_columns
        if column not in header
    ]
    errors += [
        (location, f"column `{column}` appears twice")
        for column in dict.fromkeys(header)
        if column and header.count(column) > 1
    ]
    if errors:
        return [], errors
    rows = [(row.line_number, dict(zip(header, row.fields, strict=True))) for row in table.rows]
    return rows, list(table.errors)
