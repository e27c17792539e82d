"""Parsers for the numbers in tables, which name the format of a number that cannot be read.

Only a point separates decimals. Spreadsheets in many languages write a comma, and some separate
thousands. These numbers are refused and never guessed: `1,500` may be 1.5 or 1500.
"""

import math
import re

_MAX_SAFE_DIGITS = 300  # a float has at most 309 digits before its point
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# pandas writes the integers of a column with missing values as floats, `3.0`.
_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,. '’_\u00a0\u202f])\d{3}(\1\d{3})*([.,]\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
_CLOCK_TIME = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)", re.ASCII)


def parse_number(text: str) -> float:
    """Parse a finite decimal number such as `1.5` or `2e3`.

    Raises:
        ValueError: If the text is anything else; the message is empty or, for a known format of
            numbers, says how to write the number.
    """
    if text.isascii() and text.isdigit() and len(text) < _MAX_SAFE_DIGITS:
        return float(text)  # nearly all times of tables
    # `float` would also read `nan`, `1_000` and the digits of other scripts.
    if _NUMBER.fullmatch(text) is None or not math.isfinite(float(text)):
        raise ValueError(explain_number_format(text))
    return float(text)


def parse_whole_number(text: str) -> int:
    """Parse a whole number such as `12`, or `12.0` as pandas writes it.

    Raises:
        ValueError: If the text is anything else; the message is that of `parse_number`.
    """
    if _WHOLE_NUMBER.fullmatch(text) is None:
        raise ValueError(explain_number_format(text))
    return int(text.partition(".")[0])


def explain_clock_time(text: str, units_per_s: int) -> str:
    """Return how to write a time such as `00:01:02.500` as a number, or an empty text.

    The result begins with `; `, to be appended to an error message.

    Args:
        text: Content of the field.
        units_per_s: Number of units of the field in one second.
    """
    match = _CLOCK_TIME.fullmatch(text)
    if match is None:
        return ""
    hours, minutes, seconds = match[1] or "0", match[2], match[3].replace(",", ".")
    value = round(units_per_s * (3600 * int(hours) + 60 * int(minutes) + float(seconds)), 6)
    return f"; write `{value:.15g}`"


def explain_number_format(text: str) -> str:
    """Return how to write a number with a decimal comma or separated thousands, or an empty text.

    The result begins with `; `, to be appended to an error message.
    """
    if _DECIMAL_COMMA.fullmatch(text):
        point = text.replace(",", ".")
        thousands = f", or `{text.replace(',', '')}` if it separates thousands"
        is_ambiguous = _THOUSANDS.fullmatch(text) is not None
        return f"; `{text}` has a decimal comma; write `{point}`{thousands if is_ambiguous else ''}"
    match = _THOUSANDS.fullmatch(text)
    if match is None or re.fullmatch(r"[+-]?\d+\.\d+", text):  # a single point separates decimals
        return ""
    digits = text.replace(match[1], "").replace(",", ".")
    return f"; `{text}` separates thousands; write `{digits}`"
