"""A tab-separated text file as rows of plain text, with every fault of the file at once.

UTF-8 (a byte order mark and CRLF are tolerated), a header line, one row a line, no quoting: a quote
is a character like any other, so a sentence means the same here as in an editor. Lines end at line
feeds alone; the line separators that Unicode knows besides may stand in texts. Text in another
encoding is never guessed: the message names line and byte, and the command that converts.
"""

from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.errors import SourceError

Fault = tuple[str, str]
"""Where (`train.tsv:12`) and what."""

MAX_SHOWN = 40


@dataclass(frozen=True)
class Row:
    """One line: its number in the file (the header is 1) and its fields in the header's order."""

    line: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A file's header, its well-formed rows, and the faults of the others."""

    name: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...]


def read_table(path: Path, name: str, columns: tuple[str, ...] = ()) -> Table:
    """Reads a file.

    Args:
        path: the file.
        name: how messages call it.
        columns: of a file that may do without a header, which begins with the first of them.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _empty(name, f"`{path}` does not exist")
    except IsADirectoryError:
        return _empty(name, f"`{path}` is a folder, not a file")
    except (OSError, ValueError) as error:
        return _empty(name, f"`{path}` cannot be read: {error}")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _empty(name, f"is UTF-16, not UTF-8; {how_to_convert(path, 'utf-16')}")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    texts, faults = _decode(lines, path, name)
    if not any(text and text.strip() for text in texts):
        return _empty(name, f"`{path}` is empty") if not faults else Table(name, (), (), faults)
    return _rows(name, texts, faults, columns)


def raise_faults(faults: list[Fault]) -> None:
    """Raises every fault in one error, the first `MAX_SHOWN` spelt out; does nothing without any.

    Raises:
        SourceError: there are faults.
    """
    if not faults:
        return
    count = len(faults)
    width = max(len(where) for where, _ in faults[:MAX_SHOWN])
    lines = [f"{count} problem{'s' if count > 1 else ''} in the tables of the corpus"]
    lines += [f"  {where:<{width}}  {text}" for where, text in faults[:MAX_SHOWN]]
    if count > MAX_SHOWN:
        lines.append(f"  … and {count - MAX_SHOWN} more")
    raise SourceError("\n".join(lines))


def _decode(
    lines: list[bytes], path: Path, name: str
) -> tuple[list[str | None], tuple[Fault, ...]]:
    """Each line as text, None where it is not UTF-8."""
    texts: list[str | None] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, 1):
        try:
            texts.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            texts.append(None)
            bad = line[error.start]
            advice = how_to_convert(path, "latin1")
            text = f"byte {error.start + 1} (0x{bad:02x}) is not UTF-8; {advice}"
            faults.append((f"{name}:{number}", text))
    return texts, tuple(faults)


def how_to_convert(path: Path, encoding: str) -> str:
    """The command that makes UTF-8 of a file."""
    stem = f"{path.stem}.utf8{path.suffix}"
    kind = "Latin-1" if encoding == "latin1" else encoding.upper()
    return f"if it is {kind}: `iconv -f {encoding} -t utf-8 {path.name} > {stem}`"


def _rows(
    name: str, texts: list[str | None], faults: tuple[Fault, ...], columns: tuple[str, ...]
) -> Table:
    if texts[0] is None:
        return Table(name, (), (), faults)
    header = tuple(column.strip() for column in texts[0].split("\t"))
    headless = bool(columns) and header[0] != columns[0]
    header = columns if headless else header
    first = 0 if headless else 1
    rows = []
    wrong: list[Fault] = []
    for number, text in enumerate(texts[first:], first + 1):
        if not text:  # not UTF-8 (counted already), or a blank line
            continue
        fields = tuple(text.split("\t"))
        if len(fields) == len(header):
            rows.append(Row(number, fields))
        else:
            wrong.append((f"{name}:{number}", f"has {len(fields)} fields, not {len(header)}"))
    if not rows and not wrong and not faults:
        wrong.append((name, "has a header but no rows"))
    return Table(name, header, tuple(rows), (*faults, *wrong))


def _empty(name: str, text: str) -> Table:
    return Table(name, (), (), ((name, text),))
