"""Formal SignWriting: the tokens and the normal form of the package `signwriting`, and errors."""

import pytest
from signwriting.tokenizer import SignWritingTokenizer, normalize_signwriting

from kinesweep.core.errors import ClipError
from kinesweep.sources.written.fsw import get_fsw_tokens, parse_fsw, tokenize_fsw
from written import SIGNS

TEXTS = (
    *SIGNS,
    " ".join(SIGNS),
    "".join(sign for sign in SIGNS if sign.startswith("M")),
    "AS1f720M523x556S1f720487x492 S38700463x496",
    "L518x529S14c20481x471 R521x536S11541471x509 B510x510S10000490x490",
)


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_and_normal_form_are_those_of_the_package(text: str) -> None:
    theirs = SignWritingTokenizer()
    assert tokenize_fsw(text) == list(theirs.text_to_tokens(text))
    assert " ".join(sign.text for sign in parse_fsw(text)) == normalize_signwriting(text)


def test_ids_are_those_of_the_package() -> None:
    assert list(enumerate(get_fsw_tokens())) == sorted(SignWritingTokenizer().i2s.items())


def test_a_style_is_left_out() -> None:
    assert tokenize_fsw(f"{SIGNS[0]}-C_blue_Z2.1 {SIGNS[0]}") == 2 * tokenize_fsw(SIGNS[0])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hello", "`hello` at character 1 is not a sign"),
        (f"{SIGNS[0]} M518x52", "`M518x52` at character 36 is not a sign"),
        (f"{SIGNS[0]}S14c2", "`S14c2` at character 35"),
        ("M518x529", "no SignWriting symbol"),
        ("", "no SignWriting symbol"),
        ("M518x529S14c20999x471", "is at 999x471; positions are 250 to 749"),
        ("M518x529S14c20481x249", "positions are 250 to 749"),
        ("M518x529S38c00481x471", "there is no symbol `S38c00`"),
        ("M518x529S14c60481x471", "at character 9"),
        ("M٥18x529S14c20481x471", "is not a sign"),
    ],
)
def test_anything_else_is_an_error_that_shows_it(text: str, shown: str) -> None:
    with pytest.raises(ClipError) as caught:
        parse_fsw(text)
    assert shown in str(caught.value) and caught.value.reason == "invalid_fsw"
