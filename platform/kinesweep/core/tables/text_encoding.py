"""Decoding of text files that must be UTF-8, with the line and the byte of each error."""

import codecs
from dataclasses import dataclass

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class InvalidLine:
    """A line that is not UTF-8.

    Attributes:
        line_number: Number of the line, from 1.
        error_text: Position and value of the first invalid byte.
    """

    line_number: int
    error_text: str


def find_utf16(content: bytes) -> bool:
    """Return whether a file is UTF-16, judged by its byte order mark or by its first letters."""
    # Without a mark, the ASCII letters of a header have a NUL beside each of them.
    return (
        content.startswith(_UTF16_MARKS)
        or (len(content) >= 4 and content[:4:2].isalpha() and content[1:4:2] == b"\0\0")
        or (len(content) >= 4 and content[1:4:2].isalpha() and content[:4:2] == b"\0\0")
    )


def decode_text(content: bytes) -> str:
    """Decode a UTF-8 text, and remove its byte order mark.

    Raises:
        ValueError: If the content is not UTF-8; the message names the first error.
    """
    if find_utf16(content):
        raise ValueError("is UTF-16, not UTF-8")
    text, invalid_lines = decode_lines(content)
    if invalid_lines:
        raise ValueError(f"line {invalid_lines[0].line_number}: {invalid_lines[0].error_text}")
    return text


def decode_lines(content: bytes) -> tuple[str, list[InvalidLine]]:
    """Decode the lines of a file, and return its text without a byte order mark and the errors.

    A line that is not UTF-8 becomes an empty line, so that one bad byte makes one bad line and not
    an unreadable file.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        pass  # only then is the slower decoding of single lines needed
    texts: list[str] = []
    errors: list[InvalidLine] = []
    for line_number, line in enumerate(content.split(b"\n"), 1):
        try:
            texts.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            texts.append("")
            text = f"byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8"
            errors.append(InvalidLine(line_number, text))
    return "\n".join(texts), errors
