"""Annotations that are fuzzed: captions in all formats, and tables that `prepare` reads."""

import json
from collections.abc import Callable
from pathlib import Path

from fuzz.target import Target
from kinesweep.sources.prepare import prepare_corpus

VIDEO = "AAAAAAAAAA1"


def make_captions(name: str, content: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "video_ids.txt").write_text(f"# ids\n{VIDEO}\n")
        (folder / f"{VIDEO}.pose").touch()
        (folder / f"{VIDEO}.{name}").write_text(content, encoding="utf-8")

    return make


def prepare_captions(folder: Path) -> None:
    prepare_corpus("youtube_asl", folder, folder, folder / "out", overwrite=True)


VTT = """WEBVTT
Kind: captions
Language: en

NOTE x

00:00:00.160 --> 00:00:01.429 align:start position:0%
&nbsp;
hello<00:00:00.400><c> my</c><00:00:00.700><c> name &amp;</c>

00:00:01.429 --> 00:00:01.439
hello my name &amp;

00:00:01.439 --> 00:00:02.749
hello my name &amp;
♪ the queen ♪ [Music] >> JOHN: (laughs) - <i>yes</i>
"""
SRT = "1\n00:00:01,000 --> 00:00:02,000\n{\\an8}- One\n\n2\n00:00:02,000 --> 00:00:03,500\nTwo\n"
LIST = json.dumps([{"text": f"t {n}", "start": 1.5 * n, "duration": 2.0} for n in range(4)])
EVENTS = json.dumps(
    {
        "events": [
            {"tStartMs": 900 * n, "dDurationMs": 2000, "segs": [{"utf8": "a"}, {"utf8": " b"}]}
            for n in range(4)
        ]
    }
)
SRV3 = (
    '<?xml version="1.0" encoding="utf-8" ?><timedtext format="3"><body><p t="40" d="900" w="1">'
    '<s>a</s><s t="80" ac="0"> b</s></p><p t="930" w="1" a="1">\n</p><p t="940" d="800">c<br/>d</p>'
    "</body></timedtext>"
)
TTML = (
    '<tt xmlns="http://www.w3.org/ns/ttml" xml:lang="en"><body><div><p begin="00:00:01.000" '
    'end="00:00:02.5">One<br/>two</p><p begin="3s" dur="1000ms">Three</p></div></body></tt>'
)
TABLES = {
    "how2sign": (
        "how2sign_train.csv",
        "VIDEO_ID\tVIDEO_NAME\tSENTENCE_ID\tSENTENCE_NAME\tSTART\tEND\tSENTENCE\n"
        'v\tv-5-rgb_front\tv_0\tv_0-5-rgb_front\t0.5\t1.25\t"Say ""hi""."\n'
        "v\tv-5-rgb_front\tv_1\tv_1-5-rgb_front\t1.25\t3\tNo.\n",
        "v-5-rgb_front",
    ),
    "phoenix": (
        "PHOENIX-2014-T.train.corpus.csv",
        "name|video|start|end|speaker|orth|translation\n"
        "a-1|a|-1|-1|S|JA|ja .\na-2|a|-1|-1|S|JA|ja .\n",
        "a-1",
    ),
    "openasl": (
        "openasl-v1.0.tsv",
        "vid\tyid\tstart\tend\traw-text\tsplit\na\ty\t00:00:01.5\t00:00:03\tOne\ttrain\n"
        "b\ty\t4\t5\tTwo\tvalid\n",
        "y",
    ),
    "csl_daily": ("video_map.txt", "name|gloss|char\na|x|x y\nb|y|y\n", "a"),
}


def make_table(corpus: str) -> Callable[[Path], None]:
    name, content, pose = TABLES[corpus]

    def make(folder: Path) -> None:
        (folder / name).write_text(content)
        (folder / f"{pose}.pose").touch()
        if corpus == "csl_daily":
            (folder / "split_1.txt").write_text("name|split\na|train\nb|dev\n")

    return make


def prepare_table(corpus: str) -> Callable[[Path], None]:
    return lambda folder: prepare_corpus(corpus, folder, folder, folder / "out", True) and None


def captions(kind: str, name: str, content: str) -> Target:
    pattern = (f"{VIDEO}.{name}", "video_ids.txt")
    return Target(f"captions {kind}", make_captions(name, content), pattern, prepare_captions)


PREPARE_TARGETS = (
    captions("vtt", "en.vtt", VTT),
    captions("srt", "en.srt", SRT),
    captions("json", "json", LIST),
    captions("json3", "en.json3", EVENTS),
    captions("srv3", "en.srv3", SRV3),
    captions("ttml", "en.ttml", TTML),
    *(Target(f"prepare {n}", make_table(n), ("*.*v", "*.txt"), prepare_table(n)) for n in TABLES),
)
