"""Numbers as Python, pandas and spreadsheets write them (Unicode CLDR: decimal and group signs)."""

import pytest

from kinesweep.core.tables.number_format import parse_number, parse_whole_number

REFUSED = {
    "1,5": "`1,5` has a decimal comma; write `1.5`",
    ",5": "write `.5`",
    "1,500": "write `1.500`, or `1500` if it separates thousands",
    "1.234,5": "separates thousands; write `1234.5`",
    "1,234.5": "separates thousands; write `1234.5`",
    "1 234": "write `1234`",
    "1\u00a0234": "write `1234`",
    "1\u202f234,5": "write `1234.5`",
    "12'345": "write `12345`",
    "1’234’567": "write `1234567`",
    "1_000": "write `1000`",
    "1,234,567": "write `1234567`",
}


@pytest.mark.parametrize("text", REFUSED)
def test_known_formats_are_refused_by_name(text: str) -> None:
    for parse in (parse_number, parse_whole_number):
        with pytest.raises(ValueError) as caught:
            parse(text)
        assert REFUSED[text] in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "x", "nan", "inf", "-inf", "1e999", "0x10", "١٢", "1.2.3", "²"]
)
def test_what_is_no_number_is_refused_without_a_guess(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_number(text)
    assert str(caught.value) == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("12.5", 12.5), ("-3.", -3), (".5", 0.5), ("1e3", 1000), ("1.234", 1.234)],
)
def test_numbers(text: str, value: float) -> None:
    assert parse_number(text) == value


def test_whole_numbers_as_pandas_writes_them_beside_missing_values() -> None:
    assert [parse_whole_number(text) for text in ("12", "12.0", "-1", "007")] == [12, 12, -1, 7]
    for text in ("1.5", "1e3", "9" * 30):
        with pytest.raises(ValueError):
            parse_whole_number(text)


def test_many_digits_take_linear_time() -> None:
    """Tables may be damaged: a pattern that tries each division of the digits takes minutes."""
    with pytest.raises(ValueError):
        parse_number("9" * 200_000 + "x")
