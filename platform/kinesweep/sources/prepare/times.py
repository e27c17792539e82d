"""Parsers for times such as `62.345`, `1:02.345` or `00:01:02.345`."""

import re

from kinesweep.core.tables.number_format import parse_number

# `[0-9]`, because `\d` also matches digits of other scripts.
_TIME_PATTERN = re.compile(r"(?:(?:([0-9]+):)?([0-9]+):)?([0-9]+(?:[.,][0-9]+)?)")
_MAX_SECONDS = 1_000_000_000
"""Longest time, 31 years; a longer one is another number in the column of the times."""


def parse_milliseconds(text: str) -> float:
    """Parse a time such as `62.345` or `00:01:02.345`, and return it in milliseconds.

    Without a colon, the time is in seconds. Fractions may follow a point or a comma. After a colon,
    a part must be below 60.

    Raises:
        ValueError: If the text is not a time.
    """
    match = _TIME_PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"`{text}` is not a time; write it like `62.345` or `00:01:02.345`")
    hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in match.groups())
    if (match[2] and seconds >= 60) or (match[1] and minutes >= 60):
        raise ValueError(f"`{text}` is not a time: after a colon, a part must be below 60")
    return _convert_to_milliseconds(3600 * hours + 60 * minutes + seconds, text)


def parse_seconds(text: str) -> float:
    """Parse a number of seconds as tables contain it, and return it in milliseconds.

    Raises:
        ValueError: If the text is not a finite number of 0 or more; a decimal comma is named.
    """
    text = text.strip()
    try:
        seconds, advice = parse_number(text), ""
    except ValueError as error:
        seconds, advice = -1.0, str(error)
    if seconds < 0:
        raise ValueError(f"`{text}` is not a number of seconds of 0 or more{advice}")
    return _convert_to_milliseconds(seconds, text)


def _convert_to_milliseconds(seconds: float, text: str) -> float:
    """Convert seconds to milliseconds.

    Raises:
        ValueError: If the time is too long to be one.
    """
    if seconds > _MAX_SECONDS:
        raise ValueError(f"`{text[:40]}` is not a time: it is longer than 31 years")
    # Rounded, because the product is often inexact: 62.026 s would be 62025.99999999999 ms.
    return round(1000 * seconds, 6)
