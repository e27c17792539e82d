"""Records are split as RFC 4180 (sections 2.5 to 2.7), Python's `csv` and pandas mean them.

What those do not say (a mark inside of an unquoted field, a mark that is never closed) is text.
"""

import csv
import io

import pandas
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kinesweep.core.tables.delimited_text import has_open_quote, split_records
from kinesweep.core.tables.table_writing import format_row, format_table

TEXTS = st.text(st.sampled_from('ab"\t\n\r ,;|.\u2028\x85é'), max_size=8)
TABLES = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(TEXTS, min_size=width, max_size=width), max_size=6)
)


def split(text: str, delimiter: str = "\t") -> list[list[str]]:
    return [record.fields for record in split_records(text, delimiter)]


RFC = {
    "an enclosed field": ('a\tb\n"x"\t"y"\n', ["x", "y"]),
    "a doubled mark": ('a\tb\n"x ""y"" z"\t1\n', ['x "y" z', "1"]),
    "a field of marks": ('a\tb\n"""x."""\t""""\n', ['"x."', '"']),
    "an empty field": ('a\tb\n""\tx\n', ["", "x"]),
    "the delimiter inside": ('a\tb\n"x\ty"\tz\n', ["x\ty", "z"]),
    "a line break inside": ('a\tb\nx\t"y\nz"\n', ["x", "y\nz"]),
    "CRLF inside": ('a\tb\r\n"x\r\ny"\tz\r\n', ["x\r\ny", "z"]),
    "a blank line inside": ('a\tb\nx\t"y\n\nz"\n', ["x", "y\n\nz"]),
    "no line break at the end": ('a\tb\nx\t"y"', ["x", "y"]),
    "breaks in the first and in the last field": ('a\tb\n"x\ny"\t"z\n"\n', ["x\ny", "z\n"]),
    "CR alone ends lines": ('a\tb\r"x"\t5" tall\r', ["x", '5" tall']),
}


@pytest.mark.parametrize("name", RFC)
def test_quoted_fields(name: str) -> None:
    text, fields = RFC[name]
    assert split(text) == [["a", "b"], fields]


LITERAL = {
    "a mark inside": ['5" tall', 'he said ""'],
    "a quotation and more": ['"a" and "b"', '"Hello" he said'],
    "a mark that is never closed": ['"Yes', "x"],
    "a mark that closes nothing": ["x", 'Yes."'],
    "a space after the closing mark": ['"x" ', "y"],
    "a quotation over two columns": ['"Yes.', 'No."'],
    "separators that are not line ends": ["x\u2028y", "x\x85y"],
}


@pytest.mark.parametrize("name", LITERAL)
def test_other_marks_are_text(name: str) -> None:
    assert split("a\tb\n" + "\t".join(LITERAL[name]) + "\nc\td\n")[1:] == [
        LITERAL[name],
        ["c", "d"],
    ]


def test_a_quotation_over_two_rows_is_two_rows() -> None:
    """Subtitles break a quotation between captions; merged, a sentence and a clip would be lost."""
    rows = [["1", '"Yes,', "x"], ["2", "I am", "y"], ["3", 'here."', "z"]]
    assert split("a\tb\tc\n" + "".join("\t".join(row) + "\n" for row in rows))[1:] == rows


def test_an_open_quotation_does_not_swallow_a_broken_row() -> None:
    text = 'a\tb\tc\n1\tx\t"Yes.\n2\ty\n3\tz\tNo."\n'
    assert [len(fields) for fields in split(text)] == [3, 3, 2, 3]


def test_line_numbers_are_those_of_the_file() -> None:
    records = split_records('a\tb\n\nx\t"1\n2\n3"\n\ny\tz\n', "\t")
    assert [record.line_number for record in records] == [1, 3, 7]


def test_other_delimiters() -> None:
    assert split('a|b\n"x|y"|z"\n', "|")[1] == ["x|y", 'z"']


@pytest.mark.parametrize(
    ("line", "is_open"), [('x\t"Yes', True), ('x\t"Yes"', False), ('x\t5" tall', False)]
)
def test_an_open_mark_is_recognized_for_hints(line: str, is_open: bool) -> None:
    assert has_open_quote(line, "\t") is is_open


def is_unambiguous(table: list[list[str]]) -> bool:
    """No field with a line break has as many tabs as the table: its lines would be rows too."""
    return not any("\n" in field and "\t" in field for row in table for field in row) and all(
        any(row) for row in table
    )


def has_carriage_return(table: list[list[str]]) -> bool:
    """`csv` before Python 3.13 writes a CR without quoting: at the end of a line it is of CRLF."""
    return "\r" in "".join(map("".join, table))


@given(TABLES)
@example([['"x"', "a"], ['"', "b"], ["a\tb", "\r"]])
def test_what_is_written_is_read_by_all(table: list[list[str]]) -> None:
    """By this reader, by `csv` and by pandas, to the character."""
    if not table or not is_unambiguous(table):
        return
    width = len(table[0])
    header = [f"c{number}" for number in range(width)]
    text = format_table([header, *table])
    assert split(text) == [header, *table]
    assert list(csv.reader(io.StringIO(text, newline=""), delimiter="\t")) == [header, *table]
    # `nan` is no text of these tables, but an empty field would be read as one.
    frame = pandas.read_csv(io.StringIO(text, newline=""), sep="\t", dtype=str, na_filter=False)
    assert frame.to_numpy().tolist() == table


@given(TABLES, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_what_csv_writes_is_read(table: list[list[str]], line_end: str, quoting: int) -> None:
    if not table or not is_unambiguous(table) or has_carriage_return(table):
        return
    header = [f"c{number}" for number in range(len(table[0]))]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter="\t", lineterminator=line_end, quoting=quoting).writerows(  # type: ignore[arg-type]
        [header, *table]
    )
    assert split(buffer.getvalue()) == [header, *table]


@given(TABLES)
def test_what_pandas_writes_is_read(table: list[list[str]]) -> None:
    if not table or not is_unambiguous(table) or has_carriage_return(table):
        return
    header = [f"c{number}" for number in range(len(table[0]))]
    text = pandas.DataFrame(table, columns=header).to_csv(sep="\t", index=False)
    assert split(text) == [header, *table]


@given(st.text(st.sampled_from('ab"\t\n\r'), max_size=40))
def test_no_character_is_lost(text: str) -> None:
    """Whatever the marks mean, the letters of a text stand in its fields, in their order."""
    letters = "".join("".join(fields) for fields in split(text))
    assert [c for c in letters if c in "ab"] == [c for c in text if c in "ab"]


def test_marks_inside_of_a_sentence_are_written_as_they_are() -> None:
    """SSVP-SLT and shell tools read lines without quoting; they would show the marks doubled."""
    assert format_row(['He said "no".', 5, '"x"', "a\tb"]) == 'He said "no".\t5\t"""x"""\t"a\tb"'


def test_many_open_marks_take_linear_time() -> None:
    """A megabyte of marks that are never closed: seconds, if each were looked for to the end."""
    text = "a\tb\n" + 'x\t"y\n' * 20_000 + 'x\t""\n' * 50_000 + '"\t""""\n' * 20_000
    assert len(split(text)) == 90_001
