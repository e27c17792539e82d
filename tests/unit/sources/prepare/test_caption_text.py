"""Texts of captions: markup, entities, and the rule for marks of music, sounds and speakers.

Markup from https://www.w3.org/TR/webvtt1/#cue-text, SubRip and ASS as players read them, entities
from HTML; conventions of marks from the BBC's and Netflix's guides for subtitles.
"""

import pytest

from kinesweep.sources.prepare.captions.caption_text import clean_caption_text

TEXTS = {
    # markup
    "Hello <i>there</i>, <b.loud>friend</b>": "Hello there, friend",
    "<v Mary Smith>Hi.</v> <c.yellow.bg_blue>You?</c>": "Hi. You?",
    "the<00:00:00.500><c> queen</c><00:01.000> and": "the queen and",
    "<lang en-GB>Colour</lang>": "Colour",
    "<ruby>漢字<rt>かんじ</rt></ruby>です": "漢字です",
    '<font color="#ffff00">Yellow</font>': "Yellow",
    r"{\an8}Above{\i1} this{\i0}": "Above this",
    r"one\Ntwo\hthree": "one two three",
    "{y:i}old": "old",
    "3 < 5 and 6 > 2": "3 < 5 and 6 > 2",
    # entities
    "Tom &amp; Jerry&nbsp;run": "Tom & Jerry run",
    "I &lt;3 you &gt; all": "I <3 you > all",
    "it&#39;s &#x27;ok&#x27; &quot;now&quot;": "it's 'ok' \"now\"",
    "I&amp;#39;m here": "I'm here",
    "&lt;i&gt;soft&lt;/i&gt; words": "soft words",
    "AT&T and R&D; Q&A": "AT&T and R&D; Q&A",
    "caf&eacute; &unknown; na&iuml;ve": "café &unknown; naïve",
    "left\u200e right\u200b\ufeff": "left right",
    "می\u200cخواهم": "می\u200cخواهم",
    "a\u3000b\u00a0c": "a b c",
    # music
    "[Music]": "",
    "[Musik] ich begrüße euch": "ich begrüße euch",
    "♪": "",
    "♪ ♪": "",
    "♪ la la la ♪": "",
    "♪ one\ntwo ♪": "",
    "♪ one\n♪ two": "",
    "♪♪ (upbeat music) ♪♪": "",
    "♪ la la ♪ Hello there": "Hello there",
    "Hello ♪": "Hello",
    "# Happy birthday to you #": "",
    "We are # 1": "We are # 1",
    "【音楽】": "",
    "(음악)": "",
    # sounds
    "(applause)": "",
    "Thank you (laughs), really": "Thank you, really",
    "I like it (and I mean it) much": "I like it (and I mean it) much",
    "American Sign Language (ASL) is old": "American Sign Language (ASL) is old",
    "*laughs* No": "No",
    "I *really* mean it": "I really mean it",
    "It is 2*3*4 = 24": "It is 2*3*4 = 24",
    "So *gasps* it is *really*.": "So it is really.",
    "[ __ ] happens": "happens",
    "[dramatic\nmusic]": "",
    "(拍手)": "",
    "(Gelächter) Ja": "Ja",
    "[upbeat music": "",
    "music continues] Well": "Well",
    "...": "",
    # speakers
    ">> Hello. >> Hi.": "Hello. Hi.",
    "&gt;&gt; JOHN: Hello": "Hello",
    "- Hello.\n- Hi!": "Hello. Hi!",
    "-Hello.\n–Hi!": "Hello. Hi!",
    "-5 degrees": "-5 degrees",
    "JOHN: Hello": "Hello",
    "DR. O'NEIL 2: Hello": "Hello",
    "[JOHN]: Hello": "Hello",
    "MANN: Guten Tag": "Guten Tag",
    "Speaker 1: Hello": "Hello",
    "Interpreter: Hello": "Hello",
    "Remember: be kind": "Remember: be kind",
    "At 10:30 we meet": "At 10:30 we meet",
    "（スタッフ）そうですね": "そうですね",
    "well-known e-mail": "well-known e-mail",
    "JOHN:\nHello": "Hello",
}


@pytest.mark.parametrize(("text", "wanted"), TEXTS.items(), ids=list(TEXTS))
def test_texts(text: str, wanted: str) -> None:
    assert clean_caption_text(text)[0] == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[Music] Hello [Applause]", {"music": 1, "sound": 1}),
        ("♪ la ♪", {"music": 1}),
        (">> JOHN: Hello", {"speaker": 2}),
        ("Hello", {}),
    ],
)
def test_marks_are_counted(text: str, wanted: dict[str, int]) -> None:
    assert dict(clean_caption_text(text)[1]) == wanted


def test_a_clean_text_stays_as_it_is() -> None:
    for text in set(TEXTS.values()) - {""}:
        if "&" not in text and "<" not in text:
            assert clean_caption_text(text)[0] == text


@pytest.mark.timeout(10)
@pytest.mark.parametrize("part", ["[", "(", "♪", "<rt>", "<", "&", "*", "#", ">> ", "- ", "\n#"])
def test_long_texts_take_no_quadratic_time(part: str) -> None:
    text, _ = clean_caption_text(part * 20_000)
    assert len(text) <= len(part) * 20_000
