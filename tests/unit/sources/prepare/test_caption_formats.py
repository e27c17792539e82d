"""Every format of captions is read, and each cue that is not is counted.

WebVTT: https://www.w3.org/TR/webvtt1/ (sections 4 and 6); SubRip: what players accept; JSON: the
output of youtube-transcript-api and YouTube's json3; XML: YouTube's srv1 to srv3 and TTML
(https://www.w3.org/TR/ttml1/).
"""

import json
from pathlib import Path

import pytest

from kinesweep.sources.prepare.captions.caption_clips import build_captions
from kinesweep.sources.prepare.captions.caption_file import read_caption_file

CUE = "00:00:01.000 --> 00:00:02.500"
TWO = [(1000, 2500, "One"), (3000, 4000, "Two")]
SECOND = "00:00:03.000 --> 00:00:04.000\nTwo\n"


def srt(*cues: str) -> str:
    return "\n\n".join(cues) + "\n"


GOOD: dict[str, tuple[str, str]] = {
    # WebVTT
    "plain": ("a.vtt", f"WEBVTT\n\n{CUE}\nOne\n\n{SECOND}"),
    "text after the signature": ("a.vtt", f"WEBVTT - from a tool\n\n{CUE}\nOne\n\n{SECOND}"),
    "byte order mark and CRLF": (
        "a.vtt",
        f"\ufeffWEBVTT\n\n{CUE}\nOne\n\n{SECOND}".replace("\n", "\r\n"),
    ),
    "CR alone": ("a.vtt", f"WEBVTT\n\n{CUE}\nOne\n\n{SECOND}".replace("\n", "\r")),
    "no hours": ("a.vtt", f"WEBVTT\n\n00:01.000 --> 00:02.500\nOne\n\n{SECOND}"),
    "comma": ("a.vtt", f"WEBVTT\n\n{CUE.replace('.', ',')}\nOne\n\n{SECOND}"),
    "settings": ("a.vtt", f"WEBVTT\n\n{CUE} align:start position:0%\nOne\n\n{SECOND}"),
    "identifiers": ("a.vtt", f"WEBVTT\n\nfirst cue\n{CUE}\nOne\n\n2\n{SECOND}"),
    "blocks that are no cues": (
        "a.vtt",
        "WEBVTT\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:fred\n\nNOTE two\nlines\n\n"
        f"{CUE}\nOne\n\nNOTE last\n\n{SECOND}",
    ),
    "header ended by a cue": ("a.vtt", f"WEBVTT\n{CUE}\nOne\n\n{SECOND}"),
    "no blank line between cues": ("a.vtt", f"WEBVTT\n\n{CUE}\nOne\n{SECOND}"),
    "no line feed at the end": ("a.vtt", f"WEBVTT\n\n{CUE}\nOne\n\n{SECOND}".rstrip()),
    "no spaces around the arrow": ("a.vtt", f"WEBVTT\n\n{CUE.replace(' ', '')}\nOne\n\n{SECOND}"),
    "out of order": ("a.vtt", f"WEBVTT\n\n{SECOND}\n{CUE}\nOne\n"),
    "unclosed tag": ("a.vtt", f"WEBVTT\n\n{CUE}\n<i>One\n\n{SECOND}"),
    # SubRip
    "srt": ("a.srt", srt(f"1\n{CUE.replace('.', ',')}\nOne", f"2\n{SECOND.replace('.', ',')}")),
    "srt with points": ("a.srt", srt(f"1\n{CUE}\nOne", f"2\n{SECOND}")),
    "srt without numbers": ("a.srt", srt(f"{CUE}\nOne", SECOND)),
    "srt with one number missing": ("a.srt", srt(f"1\n{CUE}\nOne", SECOND)),
    "srt without hours": ("a.srt", srt("1\n00:01,000 --> 00:02,500\nOne", f"2\n{SECOND}")),
    "srt without milliseconds": ("a.srt", srt(f"1\n{CUE}\nOne", "2\n0:0:3 --> 0:0:4\nTwo")),
    "srt that begins with blank lines": ("a.srt", srt("\n", f"1\n{CUE}\nOne", f"2\n{SECOND}")),
    "srt with short fractions": (
        "a.srt",
        srt("1\n0:00:01,0 --> 0:00:02,5\nOne", "2\n00:00:03, 000 --> 00:00:04, 000\nTwo"),
    ),
    "srt with coordinates": ("a.srt", srt(f"1\n{CUE} X1:40 X2:600\nOne", f"2\n{SECOND}")),
    "srt without blank lines": ("a.srt", f"1\n{CUE}\nOne\n2\n{SECOND}"),
    # JSON
    "list": (
        "a.json",
        '[{"text": "One", "start": 1.0, "duration": 1.5},'
        ' {"text": "Two", "start": "3", "duration": "1.0"}]',
    ),
    "snippets": (
        "a.json",
        '{"snippets": [{"text": "One", "start": 1.0, "duration": 1.5},'
        ' {"text": "Two", "start": 3, "duration": 1}], "language_code": "en"}',
    ),
    "json3": (
        "a.json3",
        '{"wireMagic": "pb3", "pens": [{}], "events": [{"tStartMs": 0, "dDurationMs": 9000, "id":'
        ' 1}, {"tStartMs": 1000, "dDurationMs": 1500, "segs": [{"utf8": "One"}]}, {"tStartMs":'
        ' 3000, "dDurationMs": 1000, "segs": [{"utf8": "Two"}]}]}',
    ),
    # XML
    "srv1": (
        "a.srv1",
        '<?xml version="1.0" encoding="utf-8" ?><transcript><text start="1" dur="1.5">One</text>'
        '<text start="3" dur="1">Two</text></transcript>',
    ),
    "srv2": (
        "a.srv2",
        '<timedtext><window t="0" id="1"/><text t="1000" d="1500" w="1">One</text>'
        '<text t="2510" w="1" append="1">\n</text><text t="3000" d="1000" w="1">Two</text>'
        "</timedtext>",
    ),
    "srv3": (
        "a.srv3",
        '<timedtext format="3"><head><ws id="0"/></head><body><w t="0" id="1"/><p t="1000"'
        ' d="1500"><s ac="255">One</s></p><p t="2490" a="1">\n</p>'
        '<p t="3000" d="1000">T<s t="9">wo</s></p></body></timedtext>',
    ),
    "ttml": (
        "a.ttml",
        '<tt xmlns="http://www.w3.org/ns/ttml" xml:lang="en"><body><div>'
        '<p begin="00:00:01.000" end="00:00:02.500">One</p>\n<p begin="3s" dur="1000ms">\n'
        " <span>Two</span>\n</p></div></body></tt>",
    ),
}


def read(tmp_path: Path, name: str, content: str) -> tuple[list[tuple[int, int, str]], list[str]]:
    path = tmp_path / name
    path.write_bytes(content.encode())
    result = build_captions(read_caption_file(path))
    captions = [(int(c.start_ms), int(c.end_ms), c.text) for c in result.captions]
    return captions, [reason for _, reason in result.dropped]


@pytest.mark.parametrize("case", list(GOOD))
def test_two_captions(tmp_path: Path, case: str) -> None:
    assert read(tmp_path, *GOOD[case]) == (TWO, [])


BAD_TIMES = {
    "00:00:03.000 --> 00:00:03.000": "zero_length",
    "00:00:05.000 --> 00:00:04.000": "end_before_start",
    "00:00:03.000 --> 00:00:03.020": "too_short",
    "-00:00:01.000 --> 00:00:01.000": "negative_time",
    "00:00:61.000 --> 00:00:62.000": "bad_time",
    "00:61:00.000 --> 00:62:00.000": "bad_time",
    "00:00:03.000 -->": "bad_time",
    "00:00:03.000 --> soon": "bad_time",
    "3 --> 4": "bad_time",
}


@pytest.mark.parametrize("name", ["a.vtt", "a.srt"])
@pytest.mark.parametrize(("timing", "reason"), BAD_TIMES.items())
def test_impossible_times_are_counted(tmp_path: Path, name: str, timing: str, reason: str) -> None:
    content = f"WEBVTT\n\n{CUE}\nOne\n\n{timing}\nNever\n\n{SECOND}"
    assert read(tmp_path, name, content.removeprefix("WEBVTT\n\n" * (name == "a.srt"))) == (
        TWO,
        [reason],
    )


def test_a_block_without_a_time_is_counted(tmp_path: Path) -> None:
    content = f"WEBVTT\n\n{CUE}\nOne\n\n00:00:02.500 -> 00:00:03.000\nNever\n\n{SECOND}"
    assert read(tmp_path, "a.vtt", content) == (TWO, ["no_time"])


def test_texts_that_leave_nothing_are_counted_with_their_reason(tmp_path: Path) -> None:
    cues = ["", "   ", "[Music]", "♪ la ♪", "(applause)", ">>", "<i></i>", "One", "One"]
    blocks = [f"00:00:01.000 --> 00:00:02.500\n{text}\n" for text in cues]
    captions, reasons = read(tmp_path, "a.vtt", "WEBVTT\n\n" + "\n".join(blocks))
    assert captions == TWO[:1]
    assert sorted(reasons) == sorted(
        ["empty", "empty", "music", "music", "sound", "empty", "empty", "duplicate"]
    )


def test_long_videos_and_equal_starts(tmp_path: Path) -> None:
    content = "WEBVTT\n\n123:00:00.000 --> 123:00:01.000\nlate\n\n00:00.000 --> 00:01.000\nA\n\n"
    content += "00:00.000 --> 00:02.000\nB\n"
    late = 123 * 3_600_000
    assert read(tmp_path, "a.vtt", content)[0] == [
        (0, 1000, "A"),
        (0, 2000, "B"),
        (late, late + 1000, "late"),
    ]


def test_a_blank_line_ends_a_text_of_webvtt_only(tmp_path: Path) -> None:
    content = f"1\n{CUE}\nOne\n\nand more\n\n2\n{SECOND}"
    assert read(tmp_path, "a.srt", content)[0][0][2] == "One and more"
    assert read(tmp_path, "a.vtt", f"WEBVTT\n\n{content}") == (TWO, ["no_time"])


def test_words_of_json3_are_joined_and_cut_at_the_next_line(tmp_path: Path) -> None:
    events = [
        {"tStartMs": 0, "dDurationMs": 9000, "id": 1, "wpWinPosId": 1},
        {"tStartMs": 160, "dDurationMs": 2600, "wWinId": 1}
        | {"segs": [{"utf8": "hello"}, {"utf8": " my", "tOffsetMs": 240}]},
        {"tStartMs": 1429, "dDurationMs": 1331, "aAppend": 1, "segs": [{"utf8": "\n"}]},
        {"tStartMs": 1439, "dDurationMs": 2000, "segs": [{"utf8": "[Music]"}]},
        {"tStartMs": 2000, "segs": [{"utf8": "queen\nand"}]},
        {"tStartMs": 3000, "dDurationMs": 500, "segs": [{"utf8": "&amp; I"}]},
    ]
    wanted = [(160, 1439, "hello my"), (2000, 3000, "queen and"), (3000, 3500, "& I")]
    assert read(tmp_path, "a.json3", json.dumps({"events": events})) == (wanted, ["music"])


def test_a_malformed_start_of_the_next_event_is_an_error_of_the_file(tmp_path: Path) -> None:
    events = [{"tStartMs": 0, "segs": [{"utf8": "a"}]}, {"tStartMs": [], "segs": [{"utf8": "b"}]}]
    with pytest.raises(ValueError, match="event 1 is malformed"):
        read(tmp_path, "a.json3", json.dumps({"events": events}))


def test_double_escaped_xml_and_breaks(tmp_path: Path) -> None:
    content = (
        '<transcript><text start="1" dur="1.5">I&amp;#39;m here &amp;amp; ready</text>'
        '<text start="x" dur="1">no</text><text start="NaN" dur="1">no</text></transcript>'
    )
    captions, reasons = read(tmp_path, "a.srv1", content)
    assert captions == [(1000, 2500, "I'm here & ready")] and reasons == ["bad_time"] * 2
    body = '<p t="1000" d="1500">One<br/>two</p>'
    content = f'<timedtext format="3"><body>{body}</body></timedtext>'
    assert read(tmp_path, "a.srv3", content)[0] == [(1000, 2500, "One two")]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_times_of_json_that_are_no_numbers(tmp_path: Path, value: str) -> None:
    content = f'[{{"text": "No", "start": {value}, "duration": 1}}]'
    assert read(tmp_path, "a.json", content) == ([], ["bad_time"])


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "no signature": ("a.vtt", b"1\n00:01.000 --> 00:02.000\nA\n", "begins with `WEBVTT`"),
    "signature with more letters": ("a.vtt", b"WEBVTTX\n", "begins with `WEBVTT`"),
    "no cue": ("a.srt", b"only text\n", "START --> END"),
    "empty": ("a.vtt", b" \n", "is empty"),
    "UTF-16": ("a.vtt", "WEBVTT\n".encode("utf-16"), "UTF-16.*iconv -f utf-16"),
    "Latin-1": (
        "a.srt",
        "1\n00:01,0 --> 00:02,0\né\n".encode("latin-1"),
        "line 3: byte 1 .*iconv -f latin1",
    ),
    "no JSON": ("a.json", b"{", "Expecting"),
    "other JSON": ("a.json", b'{"title": 1}', "must be a list of `text`"),
    "a number": ("a.json", b"7", "must be a list"),
    "no text": ("a.json", b'[{"start": 1, "duration": 2}]', "caption 1 needs"),
    "a number as text": (
        "a.json",
        b'[{"start": 1, "duration": 2, "text": 3}]',
        "`text` of caption",
    ),
    "a word as time": ("a.json", b'[{"start": "x", "duration": 2, "text": "a"}]', "not a number"),
    "deep JSON": ("a.json", b"[" * 100_000, "nested too deeply"),
    "events that are none": ("a.json3", b'{"events": [3]}', "event 1"),
    "no XML": ("a.srv1", b"<transcript>", "is not XML"),
    "other XML": ("a.xml", b"<html/>", "known are"),
    "entities": ("a.ttml", b'<!DOCTYPE tt [<!ENTITY a "b">]><tt/>', "DOCTYPE"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_other_contents_are_refused(tmp_path: Path, case: str) -> None:
    name, content, message = REFUSED[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_caption_file(tmp_path / name)
