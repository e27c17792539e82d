"""A strict reader for delimited text files that reports all errors of a file at once.

All tables of corpora are read here. Files are UTF-8 (a byte order mark, CRLF and CR are accepted)
with a header line; `core.tables.delimited_text` defines which fields are quoted. What spreadsheets
and pandas add is dropped where it holds nothing: rows and trailing columns without any content, and
pandas' unnamed column of row numbers. Texts such as `NA` and `nan` stay texts. Other encodings are
never guessed: the message gives the line, the byte and a command that converts. Line numbers are
those of the file; a row with line breaks in a field has the number of its first line.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.errors import SourceError
from kinesweep.core.tables.delimited_text import Record, has_open_quote, split_records
from kinesweep.core.tables.text_encoding import decode_lines, find_utf16

TableError = tuple[str, str]
"""An error in a table: its location (`train.tsv:12`) and its text."""

MAX_SHOWN_ERRORS = 40
"""Maximum number of errors that one message spells out."""

_DELIMITER_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
# pandas names the index column "" in a file, and "Unnamed: 0" once it has read it again.
_INDEX_NAMES = ("", "Unnamed: 0")


@dataclass(frozen=True)
class TableRow:
    """A row of a table: its line number (the header is line 1) and its fields in header order."""

    line_number: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A parsed table.

    Attributes:
        name: Name of the file in error messages.
        header: Column names in the order of the file; empty if the file has no readable header.
        rows: Rows with as many fields as the header, in the order of the file.
        errors: Errors in the file, such as rows with another number of fields.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[TableRow, ...]
    errors: tuple[TableError, ...]


def read_table(
    path: Path,
    name: str,
    assume_columns: Callable[[Sequence[str]], tuple[str, ...]] | None = None,
    delimiter: str = "\t",
) -> Table:
    """Read a delimited file; a file that cannot be read gives an empty table with an error.

    Args:
        path: Path of the file.
        name: Name of the file in error messages.
        assume_columns: Function that returns the columns of a file without a header from the
            fields of its first line, or an empty tuple if that line is a header. None: the first
            line is always the header.
        delimiter: Separator between fields, one character.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _make_empty_table(name, f"`{path}` does not exist")
    except IsADirectoryError:
        return _make_empty_table(name, f"`{path}` is a folder, not a file")
    except (OSError, ValueError) as error:
        return _make_empty_table(name, f"`{path}` cannot be read: {error}")
    # Decoding would only report the lines with invalid bytes, not their common cause.
    if find_utf16(content):
        return _make_empty_table(
            name, f"is UTF-16, not UTF-8; {format_conversion_command(path, 'utf-16')}"
        )
    text, invalid_lines = decode_lines(content)
    advice = format_conversion_command(path, "latin1")
    errors = tuple(
        (f"{name}:{line.line_number}", f"{line.error_text}; {advice}") for line in invalid_lines
    )
    # Only blank lines: the file is empty, unless other lines could not be decoded.
    if not text.strip():
        return (
            Table(name, (), (), errors) if errors else _make_empty_table(name, f"`{path}` is empty")
        )
    if any(line.line_number == 1 for line in invalid_lines):
        # Without a readable header no row can be interpreted.
        return Table(name, (), (), errors)
    records = list(split_records(text, delimiter))
    header = tuple(column.strip() for column in records[0].fields)
    columns = assume_columns(header) if assume_columns is not None else ()
    rows = records if columns else records[1:]
    return _build_table(name, columns or header, rows, errors, delimiter)


def raise_table_errors(errors: list[TableError]) -> None:
    """Raise one exception for all errors, if there are any; it shows the first `MAX_SHOWN_ERRORS`.

    Raises:
        SourceError: If there are errors.
    """
    if not errors:
        return
    num_errors = len(errors)
    shown_errors = errors[:MAX_SHOWN_ERRORS]
    width = max(len(location) for location, _ in shown_errors)
    message_lines = [
        f"{num_errors} problem{'s' if num_errors > 1 else ''} in the tables of the corpus"
    ]
    message_lines += [f"  {location:<{width}}  {text}" for location, text in shown_errors]
    if num_errors > MAX_SHOWN_ERRORS:
        message_lines.append(f"  … and {num_errors - MAX_SHOWN_ERRORS} more")
    raise SourceError("\n".join(message_lines))


def format_conversion_command(path: Path, encoding: str) -> str:
    """Format the advice for error messages how to convert a file from an encoding to UTF-8.

    Example: ``if it is Latin-1: `iconv -f latin1 -t utf-8 a.tsv > a.utf8.tsv` ``.
    """
    output_name = f"{path.stem}.utf8{path.suffix}"
    encoding_name = "Latin-1" if encoding == "latin1" else encoding.upper()
    return f"if it is {encoding_name}: `iconv -f {encoding} -t utf-8 {path.name} > {output_name}`"


def _build_table(
    name: str,
    columns: tuple[str, ...],
    records: list[Record],
    errors: tuple[TableError, ...],
    delimiter: str,
) -> Table:
    """Build a table from its records, and check the number of fields of each.

    Args:
        name: Name of the file in error messages.
        columns: Column names.
        records: Records after the header.
        errors: Decoding errors, which the table contains as well.
        delimiter: Separator between fields, for hints.
    """
    # The first field decides for nearly all rows, which makes this twice as fast.
    records = [row for row in records if row.fields[0].strip() or _has_content(row.fields)]
    kept_columns = _find_kept_columns(columns, records)
    header = columns[kept_columns]
    rows, row_errors, width = [], [], len(columns)
    for record in records:
        fields = record.fields
        # Spreadsheets write empty fields after the last column.
        num_fields = len(fields)
        if num_fields < width or (num_fields > width and _has_content(fields[width:])):
            text = f"has {len(fields)} fields, not {len(columns)}"
            hint = _explain_width(fields, len(columns), delimiter)
            row_errors.append((f"{name}:{record.line_number}", text + hint))
        else:
            rows.append(TableRow(record.line_number, tuple(fields[: len(columns)][kept_columns])))
    # With other errors this one would mislead: there are rows, but none could be read.
    if not rows and not row_errors and not errors:
        row_errors.append((name, "has a header but no rows"))
    return Table(name, header, tuple(rows), (*errors, *row_errors))


def _find_kept_columns(columns: tuple[str, ...], records: list[Record]) -> slice:
    """Return the columns of a table without empty ones at its end and row numbers at its start.

    Columns at the end are dropped if neither the header nor any row has content in them, and the
    first column if it is the index that pandas writes: without a name, and counting from 0.

    Args:
        columns: Column names.
        records: Records after the header.
    """
    end = len(columns)
    while end > 1 and not columns[end - 1]:
        end -= 1
    has_content = any(_has_content(record.fields[end : len(columns)]) for record in records)
    is_index = columns[0] in _INDEX_NAMES and all(
        record.fields[0] == str(number) for number, record in enumerate(records)
    )
    return slice(1 if is_index and end > 1 else 0, len(columns) if has_content else end)


def _has_content(fields: Sequence[str]) -> bool:
    """Return whether any of some fields contains more than white space."""
    return any(map(str.strip, fields))


def _explain_width(fields: Sequence[str], width: int, delimiter: str) -> str:
    """Return a hint why a row has a wrong number of fields, or an empty text.

    Args:
        fields: Fields of the row.
        width: Number of columns.
        delimiter: Separator between fields.
    """
    line = delimiter.join(fields)
    if has_open_quote(line, delimiter):
        return "; it begins a field with a quotation mark and does not close it"
    other_delimiter = find_other_delimiter(fields, width)
    return f"; its fields are separated by {other_delimiter}" if other_delimiter else ""


def find_other_delimiter(fields: Sequence[str], width: int = 2) -> str:
    """Return the name of the delimiter that a line seems to use instead, or an empty text.

    Args:
        fields: Fields of the line, which is suspect if it has only one.
        width: Number of fields that the line should have at least.
    """
    if len(fields) != 1:
        return ""
    counts = {text: fields[0].count(mark) + 1 for mark, text in _DELIMITER_NAMES.items()}
    name = max(counts, key=lambda text: counts[text])
    return name if counts[name] >= max(2, width) else ""


def _make_empty_table(name: str, error_text: str) -> Table:
    """Return a table without header and rows, and with one error that concerns the whole file."""
    return Table(name, (), (), ((name, error_text),))
