"""A parser for times such as `62.345`, `1:02.345` or `00:01:02.345`."""

import re

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d+)?)")


def milliseconds(text: str) -> float:
    """Parse a time in seconds, minutes and hours, and return it in milliseconds.

    Raises:
        ValueError: If the text is not a time.
    """
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"`{text}` is not a time; write it like `62.345` or `00:01:02.345`")
    hours, minutes, seconds = found.groups()
    whole = 3600 * int(hours or 0) + 60 * int(minutes or 0)
    # Rounded, because the product is often inexact: 62.026 s would be 62025.99999999999 ms.
    return round(1000 * (whole + float(seconds.replace(",", "."))), 6)
