"""A strict reader for tab-separated text files that reports all errors of a file at once.

Files are UTF-8 (a byte order mark and CRLF are accepted) with a header line and one row per line.
There is no quoting: a quotation mark is an ordinary character, so that a sentence reads the same
as in an editor. (Published annotation tables may be quoted; `prepare.delimited_table` reads them.)
Only line feeds end a line; other Unicode line separators may occur in texts. Other encodings are
never guessed: the message gives the line, the byte and a command that converts.
"""

from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.errors import SourceError

TableError = tuple[str, str]
"""An error in a table: its location (`train.tsv:12`) and its text."""

MAX_SHOWN_ERRORS = 40
"""Maximum number of errors that one message spells out."""


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


def read_table(path: Path, name: str, columns: tuple[str, ...] = ()) -> Table:
    """Read a tab-separated file; a file that cannot be read gives an empty table with an error.

    Args:
        path: Path of the file.
        name: Name of the file in error messages.
        columns: Columns to assume if the file has no header, that is, if its first field is not
            the first of these names. Empty: the first line is always the header.
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
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _make_empty_table(
            name, f"is UTF-16, not UTF-8; {format_conversion_command(path, 'utf-16')}"
        )
    # Split before decoding, so that one bad byte makes one bad line and not an unreadable file.
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    texts, errors = _decode_lines(lines, path, name)
    # Only blank lines: the file is empty, unless other lines could not be decoded.
    if not any(text and text.strip() for text in texts):
        return (
            _make_empty_table(name, f"`{path}` is empty")
            if not errors
            else Table(name, (), (), errors)
        )
    return _parse_rows(name, texts, errors, columns)


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


def _decode_lines(
    lines: list[bytes], path: Path, name: str
) -> tuple[list[str | None], tuple[TableError, ...]]:
    """Decode the lines of a file, and return their texts and the errors.

    A line that is not UTF-8 gives None instead of a text, and an error. The carriage return at the
    end of a line is removed.

    Args:
        lines: Lines without their line feeds.
        path: Path of the file, for the command in the error message.
        name: Name of the file in error messages.
    """
    texts: list[str | None] = []
    errors: list[TableError] = []
    for line_number, line in enumerate(lines, 1):
        try:
            texts.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            texts.append(None)
            invalid_byte = line[error.start]
            advice = format_conversion_command(path, "latin1")
            text = f"byte {error.start + 1} (0x{invalid_byte:02x}) is not UTF-8; {advice}"
            errors.append((f"{name}:{line_number}", text))
    return texts, tuple(errors)


def format_conversion_command(path: Path, encoding: str) -> str:
    """Format the advice for error messages how to convert a file from an encoding to UTF-8.

    Example: ``if it is Latin-1: `iconv -f latin1 -t utf-8 a.tsv > a.utf8.tsv` ``.
    """
    output_name = f"{path.stem}.utf8{path.suffix}"
    encoding_name = "Latin-1" if encoding == "latin1" else encoding.upper()
    return f"if it is {encoding_name}: `iconv -f {encoding} -t utf-8 {path.name} > {output_name}`"


def _parse_rows(
    name: str, texts: list[str | None], errors: tuple[TableError, ...], columns: tuple[str, ...]
) -> Table:
    """Split decoded lines into a header and rows, and check the number of fields of each row.

    Args:
        name: Name of the file in error messages.
        texts: Decoded lines; None for a line that could not be decoded.
        errors: Decoding errors, which the table contains as well.
        columns: Columns to assume if the first field of the file is not the first of them.
    """
    if texts[0] is None:  # without a readable header no row can be interpreted
        return Table(name, (), (), errors)
    header = tuple(column.strip() for column in texts[0].split("\t"))
    has_no_header = bool(columns) and header[0] != columns[0]
    header = columns if has_no_header else header
    first_row_index = 0 if has_no_header else 1
    rows = []
    row_errors: list[TableError] = []
    for line_number, text in enumerate(texts[first_row_index:], first_row_index + 1):
        if not text:  # not UTF-8 (already reported), or a blank line
            continue
        fields = tuple(text.split("\t"))
        if len(fields) == len(header):
            rows.append(TableRow(line_number, fields))
        else:
            text = f"has {len(fields)} fields, not {len(header)}"
            row_errors.append((f"{name}:{line_number}", text))
    # With other errors this one would mislead: there are rows, but none could be read.
    if not rows and not row_errors and not errors:
        row_errors.append((name, "has a header but no rows"))
    return Table(name, header, tuple(rows), (*errors, *row_errors))


def _make_empty_table(name: str, error_text: str) -> Table:
    """Return a table without header and rows, and with one error that concerns the whole file."""
    return Table(name, (), (), ((name, error_text),))
