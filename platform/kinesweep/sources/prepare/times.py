"""Times as people write them: `62.345`, `1:02.345` or `00:01:02.345`."""

import re

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d+)?)")


def milliseconds(text: str) -> float:
    """A time of seconds, minutes and hours.

    Raises:
        ValueError: it is none.
    """
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"`{text}` is no time")
    hours, minutes, seconds = found.groups()
    whole = 3600 * int(hours or 0) + 60 * int(minutes or 0)
    return round(1000 * (whole + float(seconds.replace(",", "."))), 6)
