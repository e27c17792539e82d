"""Rolling captions give each line once; lines said twice stay.

Patterns: YouTube's automatic WebVTT (two lines, words with time tags, cues of 10 ms between them),
its conversion to SubRip (no tags), roll-up captions of CEA-608 (windows of two and three lines),
live captions that grow by words, and overlapping displays of YouTube's JSON.
"""

import pytest

from kinesweep.sources.prepare.captions.caption_clips import build_captions
from kinesweep.sources.prepare.captions.cue_blocks import parse_srt, parse_vtt
from kinesweep.sources.prepare.captions.timed_json import parse_json

Row = tuple[int, int, str]


def stamp(ms: int) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def vtt(*cues: Row) -> str:
    blocks = [f"{stamp(start)} --> {stamp(end)}\n{text}\n" for start, end, text in cues]
    return "\n".join(["WEBVTT\nKind: captions\nLanguage: en\n", *blocks])


def said(text: str) -> list[Row]:
    captions = build_captions(parse_vtt(text, "a.vtt")).captions
    return [(int(c.start_ms), int(c.end_ms), c.text) for c in captions]


def timed(start: int, text: str) -> str:
    """The words of a line with the times that YouTube gives all but the first."""
    first, *others = text.split()
    return first + "".join(
        f"<{stamp(start + 200 * n)}><c> {word}</c>" for n, word in enumerate(others, 1)
    )


def youtube(lines: list[Row]) -> str:
    """Automatic captions as YouTube writes them."""
    cues: list[Row] = []
    above = " "
    for start, end, text in lines:
        cues.append((start, end, f"{above}\n{timed(start, text)}"))
        cues.append((end, end + 10, f"{text}\n "))
        above = text
    return vtt(*cues)


LINES = [
    (160, 1429, "hello my name is"),
    (1439, 2749, "the queen and this"),
    (2759, 3500, "is fun"),
    (9000, 9800, "yes"),
    (9810, 10900, "yes"),
    (10910, 12000, "well well"),
    (12010, 13000, "well well"),
]


def test_each_line_of_youtube_s_window_comes_once_with_its_time() -> None:
    assert said(youtube(LINES)) == LINES


def test_any_number_of_lines_comes_back() -> None:
    words = ["yes", "no", "yes", "go", "go", "go", "stop", "yes", "yes", "no", "no"]
    lines = [(3000 * n, 3000 * n + 2500, f"{word} and {word}") for n, word in enumerate(words)]
    for count in range(1, len(lines) + 1):
        assert said(youtube(lines[:count])) == lines[:count]


def test_repeated_cues_are_counted() -> None:
    result = build_captions(parse_vtt(youtube(LINES), "a.vtt"))
    assert [reason for _, reason in result.dropped] == ["rolling_repeat"] * len(LINES)


def test_windows_without_cues_between_them() -> None:
    text = vtt(
        (1000, 4000, f"hallo und {timed(1000, 'herzlich willkommen')}"),
        (4000, 7000, "hallo und herzlich willkommen\nmein name ist anna"),
        (7000, 11000, "mein name ist anna\nund das ist meine stimme"),
    )
    assert said(text) == [
        (1000, 4000, "hallo und herzlich willkommen"),
        (4000, 7000, "mein name ist anna"),
        (7000, 11000, "und das ist meine stimme"),
    ]


def test_the_conversion_to_srt_is_joined_too() -> None:
    text = """1
00:00:00,160 --> 00:00:01,429
hello my name is

2
00:00:01,429 --> 00:00:01,439
hello my name is

3
00:00:01,439 --> 00:00:02,749
hello my name is
the queen and this

4
00:00:02,749 --> 00:00:02,759
the queen and this
"""
    captions = build_captions(parse_srt(text, "a.srt")).captions
    assert [(c.start_ms, c.end_ms, c.text) for c in captions] == [
        (160, 1429, "hello my name is"),
        (1439, 2749, "the queen and this"),
    ]


@pytest.mark.parametrize("height", [2, 3, 4])
def test_windows_of_roll_up_captions(height: int) -> None:
    lines = [f"line number {n}" for n in range(12)]
    cues = [
        (1000 * n, 1000 * n + 1000, "\n".join(lines[max(0, n + 1 - height) : n + 1]))
        for n in range(12)
    ]
    wanted = [(1000 * n, 1000 * n + 1000, line) for n, line in enumerate(lines)]
    assert said(vtt(*cues)) == wanted


def test_lines_that_grow_by_words() -> None:
    cues = [
        (0, 500, "HELLO"),
        (500, 1000, "HELLO MY"),
        (1000, 1500, "HELLO MY NAME"),
        (1500, 2000, "HELLO MY NAME\nIS"),
        (2000, 2500, "HELLO MY NAME\nIS ANNA"),
    ]
    assert said(vtt(*cues)) == [(0, 1500, "HELLO MY NAME"), (1500, 2500, "IS ANNA")]


def test_a_music_mark_in_the_window_is_no_line() -> None:
    text = vtt(
        (0, 1000, " \n[Musik]"),
        (1000, 1010, "[Musik]\n "),
        (1010, 2000, f"[Musik]\n{timed(1010, 'ich begrüße euch')}"),
        (2000, 2010, "ich begrüße euch\n "),
    )
    assert said(text) == [(1010, 2000, "ich begrüße euch")]


def test_a_line_that_waits_on_the_screen_ends_with_its_words() -> None:
    text = vtt(
        (0, 1000, timed(0, "one two three")),
        (1000, 1010, "one two three"),
        (1010, 9000, "one two three"),
        (9000, 9900, f"one two three\n{timed(9000, 'four five')}"),
    )
    assert said(text) == [(0, 1000, "one two three"), (9000, 9900, "four five")]


def test_without_times_of_words_a_line_that_stays_is_extended() -> None:
    text = vtt(
        (0, 1000, "one"),
        (1000, 2000, "one\ntwo"),
        (2000, 3000, "one\ntwo"),
        (3000, 4000, "two\nsix"),
    )
    assert said(text) == [(0, 1000, "one"), (1000, 3000, "two"), (3000, 4000, "six")]


@pytest.mark.parametrize(
    "cues",
    [
        [(0, 1000, "Yes."), (1000, 2000, "Yes."), (2000, 3000, "No."), (3000, 4000, "No.")],
        [
            (0, 1000, "No.\nNo."),
            (1000, 2000, "No.\nStop."),
            (2000, 3000, "Why?"),
            (3000, 4000, "!1"),
        ],
        [(0, 1000, "Hello"), (1000, 2000, "Hello again"), (2000, 3000, "A"), (3000, 4000, "B")],
    ],
)
def test_what_is_said_twice_in_manual_captions_stays(cues: list[Row]) -> None:
    assert said(vtt(*cues)) == [(start, end, " ".join(text.split())) for start, end, text in cues]


def test_words_with_times_alone_do_not_make_captions_roll() -> None:
    cues = [(1000 * n, 1000 * n + 900, timed(1000 * n, "la la la")) for n in range(4)]
    assert said(vtt(*cues)) == [(start, end, "la la la") for start, end, _ in cues]


def json_track(*rows: tuple[float, float, str]) -> str:
    items = ", ".join(
        f'{{"text": "{text}", "start": {start}, "duration": {duration}}}'
        for start, duration, text in rows
    )
    return f"[{items}]"


def test_ends_of_rolling_json_are_the_next_starts() -> None:
    text = json_track((0.16, 2.6, "a b"), (1.44, 2.3, "c d"), (2.76, 1.5, "e f"), (9, 1, "g"))
    captions = build_captions(parse_json(text, "a.json")).captions
    assert [(c.start_ms, c.end_ms) for c in captions] == [
        (160, 1440),
        (1440, 2760),
        (2760, 4260),
        (9000, 10000),
    ]


def test_two_people_at_once_keep_their_times() -> None:
    text = json_track((0, 3, "a"), (2, 2, "b"), (5, 1, "c"), (6, 1, "d"), (7, 1, "e"))
    captions = build_captions(parse_json(text, "a.json")).captions
    assert [(c.start_ms, c.end_ms) for c in captions][:2] == [(0, 3000), (2000, 4000)]
