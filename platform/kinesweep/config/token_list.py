"""Lists of tokens in recipes: a list, a comma-separated text, or a file with one token per line."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from kinesweep.core.tables.delimited_text import split_records
from kinesweep.core.tables.text_encoding import decode_text


def _read_tokens(value: object) -> object:
    """Read the tokens of a comma-separated text or of a file; return any other value unchanged.

    A file has one token per line; further words in a line are ignored.

    Raises:
        ValueError: If the file is not UTF-8, or the text looks like the path of a file and there is
            no such file.
    """
    if not isinstance(value, str):
        return value
    # A missing file is an error, or a mistyped path would silently become a token.
    path = Path(value)
    if path.is_file():
        try:
            text = decode_text(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"`{path}` cannot be read: {error}") from None
        # Spaces and tabs separate words, and a quoted token loses its quotation marks.
        records = split_records(re.sub(r"[^\S\r\n]+", "\t", text), "\t", width=1)
        return tuple(
            token for record in records if (token := next(filter(None, record.fields), ""))
        )
    if "/" in value or path.suffix in {".txt", ".tsv", ".csv"}:
        raise ValueError("looks like the path of a file, but there is no such file")
    return tuple(token.strip() for token in value.split(",") if token.strip())


NewTokens = Annotated[tuple[str, ...], BeforeValidator(_read_tokens)]
