"""A parser for times such as `62.345`, `1:02.345` or `00:01:02.345`."""

import re

_TIME_PATTERN = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d+)?)")


def parse_milliseconds(text: str) -> float:
    """Parse a time such as `62.345` or `00:01:02.345`, and return it in milliseconds.

    Without a colon, the time is in seconds. Fractions may follow a point or a comma.

    Raises:
        ValueError: If the text is not a time.
    """
    match = _TIME_PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"`{text}` is not a time; write it like `62.345` or `00:01:02.345`")
    hours, minutes, seconds = match.groups()
    whole_seconds = 3600 * int(hours or 0) + 60 * int(minutes or 0)
    # Rounded, because the product is often inexact: 62.026 s would be 62025.99999999999 ms.
    return round(1000 * (whole_seconds + float(seconds.replace(",", "."))), 6)
