"""A strict reader for tab-separated text files that reports all errors of a file at once.

Files are UTF-8 (a byte order mark and CRLF are accepted) with a header line and one row per line.
There is no quoting: a quotation mark is an ordinary character, so that a sentence reads the same
as in an editor. Only line feeds end a line; other Unicode line separators may occur in texts. Other
encodings are never guessed: the message gives the line, the byte and a command that converts.
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

    line: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A parsed table: its name, header, well-formed rows, and the errors of all other rows."""

    name: str
    header: tuple[str, ...]
    rows: tuple[TableRow, ...]
    errors: tuple[TableError, ...]


def read_table(path: Path, name: str, columns: tuple[str, ...] = ()) -> Table:
    """Read a table; a file that cannot be read gives an empty table with an error.

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
    """Raise all errors as one exception that spells out the first `MAX_SHOWN_ERRORS`.

    Raises:
        SourceError: If there are errors.
    """
    if not errors:
        return
    count = len(errors)
    width = max(len(where) for where, _ in errors[:MAX_SHOWN_ERRORS])
    lines = [f"{count} problem{'s' if count > 1 else ''} in the tables of the corpus"]
    lines += [f"  {where:<{width}}  {text}" for where, text in errors[:MAX_SHOWN_ERRORS]]
    if count > MAX_SHOWN_ERRORS:
        lines.append(f"  … and {count - MAX_SHOWN_ERRORS} more")
    raise SourceError("\n".join(lines))


def _decode_lines(
    lines: list[bytes], path: Path, name: str
) -> tuple[list[str | None], tuple[TableError, ...]]:
    """Decode each line; lines that are not UTF-8 become None and give an error."""
    texts: list[str | None] = []
    errors: list[TableError] = []
    for number, line in enumerate(lines, 1):
        try:
            texts.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            texts.append(None)
            invalid_byte = line[error.start]
            advice = format_conversion_command(path, "latin1")
            text = f"byte {error.start + 1} (0x{invalid_byte:02x}) is not UTF-8; {advice}"
            errors.append((f"{name}:{number}", text))
    return texts, tuple(errors)


def format_conversion_command(path: Path, encoding: str) -> str:
    """Format the shell command that converts a file to UTF-8, for error messages."""
    stem = f"{path.stem}.utf8{path.suffix}"
    kind = "Latin-1" if encoding == "latin1" else encoding.upper()
    return f"if it is {kind}: `iconv -f {encoding} -t utf-8 {path.name} > {stem}`"


def _parse_rows(
    name: str, texts: list[str | None], errors: tuple[TableError, ...], columns: tuple[str, ...]
) -> Table:
    """Split decoded lines into rows of fields and check the number of fields."""
    if texts[0] is None:  # without a readable header no row can be interpreted
        return Table(name, (), (), errors)
    header = tuple(column.strip() for column in texts[0].split("\t"))
    has_no_header = bool(columns) and header[0] != columns[0]
    header = columns if has_no_header else header
    first = 0 if has_no_header else 1  # index of the first row in `texts`
    rows = []
    row_errors: list[TableError] = []
    for number, text in enumerate(texts[first:], first + 1):
        if not text:  # not UTF-8 (already reported), or a blank line
            continue
        fields = tuple(text.split("\t"))
        if len(fields) == len(header):
            rows.append(TableRow(number, fields))
        else:
            row_errors.append((f"{name}:{number}", f"has {len(fields)} fields, not {len(header)}"))
    if not rows and not row_errors and not errors:
        row_errors.append((name, "has a header but no rows"))
    return Table(name, header, tuple(rows), (*errors, *row_errors))


def _make_empty_table(name: str, text: str) -> Table:
    """Return a table without rows and with one error."""
    return Table(name, (), (), ((name, text),))
