"""Videos of YouTube-ASL: which of several caption files is read, in which language, from which id.

Names as yt-dlp and youtube-dl write them; language tags of BCP 47, and YouTube's own (`iw`,
`en-orig`, `a.en`); addresses of YouTube in all their published forms.
"""

import json
from pathlib import Path

import pytest

from kinesweep.core.errors import InputError, SourceError
from kinesweep.sources.prepare import prepare_corpus
from kinesweep.sources.prepare.captions.caption_choice import parse_caption_name
from kinesweep.sources.prepare.preparation_result import PreparationResult
from kinesweep.sources.prepare.video_ids import read_video_ids

VIDEO = "AAAAAAAAAA1"
HEAD = "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n"
AUTOMATIC = f"{HEAD}one<00:00:01.500><c> two</c>\n"


class Place:
    """Folders of one corpus, and its table."""

    def __init__(self, root: Path) -> None:
        self.annotations, self.poses, self.out = (root / name for name in "apo")
        self.annotations.mkdir()
        self.poses.mkdir()
        self.write("video_ids.txt", VIDEO)
        (self.poses / f"{VIDEO}.pose").touch()

    def write(self, name: str, text: str) -> None:
        path = self.annotations / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def prepare(self, *languages: str) -> PreparationResult:
        return prepare_corpus(
            "youtube_asl", self.annotations, self.poses, self.out, True, languages
        )

    def rows(self) -> list[dict[str, str]]:
        head, *lines = (self.out / "train.tsv").read_text().splitlines()
        return [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("{}.vtt", "en"),
        ("{}.de.vtt", "de"),
        ("{}.de-DE.vtt", "de"),
        ("{}.a.de.vtt", "de"),
        ("{}.de-orig.vtt", "de"),
        ("{}.pt-BR.vtt", "pt"),
        ("{}.zh-Hant.vtt", "zh"),
        ("{}.iw.vtt", "he"),
        ("{}.ase.vtt", "ase"),
        ("{}.de.VTT", "de"),
        ("Mr. X talks [{}].de.vtt", "de"),
        ("captions/{}.de.vtt", "de"),
    ],
)
def test_the_language_of_a_name(place: Place, name: str, language: str) -> None:
    place.write(name.format(VIDEO), f"{HEAD}Text")
    place.prepare()
    (row,) = place.rows()
    assert (row["language"], row["decoder_prompt"]) == (language, f"__{language}__")
    assert row["document"] == VIDEO


def test_the_language_of_a_header(place: Place) -> None:
    place.write(
        f"{VIDEO}.vtt", HEAD.replace("WEBVTT\n", "WEBVTT\nKind: captions\nLanguage: de\n") + "Ja"
    )
    place.prepare()
    assert place.rows()[0]["decoder_prompt"] == "__de__"
    snippet = {"text": "Oui", "start": 1, "duration": 2}
    (place.annotations / f"{VIDEO}.vtt").unlink()
    place.write(f"{VIDEO}.json", json.dumps({"snippets": [snippet], "language_code": "fr-CA"}))
    place.prepare()
    assert place.rows()[0]["decoder_prompt"] == "__fr__"


def test_a_header_that_contradicts_the_name_is_a_warning(place: Place) -> None:
    place.write(f"{VIDEO}.de.vtt", HEAD.replace("WEBVTT", "WEBVTT\nLanguage: fr") + "Ja")
    (warning,) = place.prepare().warnings
    assert f"{VIDEO}.de.vtt" in warning and "`fr`" in warning
    assert place.rows()[0]["language"] == "de"


@pytest.mark.parametrize(
    ("name", "text", "is_doubted"),
    [
        ("{}.vtt", "你好，世界", True),
        ("{}.srt", "Добрый день", True),
        ("{}.ja.vtt", "こんにちは", False),
        ("{}.vtt", "Hello to the 世界, 3.5", False),
        ("{}.vtt", "10:30", False),
    ],
)
def test_another_script_without_a_language_is_a_warning(
    place: Place, name: str, text: str, is_doubted: bool
) -> None:
    content = f"{HEAD}{text}"
    place.write(name.format(VIDEO), content.removeprefix("WEBVTT\n\n" * name.endswith("srt")))
    warnings = place.prepare().warnings
    assert ["taken as English" in warning for warning in warnings] == [True] * is_doubted


@pytest.mark.parametrize(
    ("files", "chosen", "unused"),
    [
        (("en.vtt", "de.vtt"), "en", {"other_language": 1}),
        (("a.en.vtt", "en.vtt"), "en", {"automatic": 1}),
        (("en-orig.vtt", "en.vtt"), "en", {"automatic": 1}),
        (("a.en.vtt", "de.vtt"), "de", {"other_language": 1}),
        (("en.vtt", "en.srt"), "en", {"other_format": 1}),
        (("en-US.vtt", "en.vtt", "en-GB.vtt"), "en", {"same_language": 2}),
        (("en.vtt", "en.ass"), "en", {"other_format": 1}),
    ],
)
def test_one_file_a_video(
    place: Place, files: tuple[str, ...], chosen: str, unused: dict[str, int]
) -> None:
    for name in files:
        place.write(f"{VIDEO}.{name}", f"{HEAD}{name}")
    assert place.prepare().unused_files == unused
    (row,) = place.rows()
    assert row["language"] == chosen
    wanted = next((n for n in files if n == f"{chosen}.vtt"), files[0])
    assert row["output"] == wanted


def test_json_without_a_language_goes_before_other_formats(place: Place) -> None:
    place.write(f"{VIDEO}.json", '[{"text": "json", "start": 1, "duration": 1}]')
    place.write(f"{VIDEO}.en.vtt", f"{HEAD}vtt")
    assert place.prepare().unused_files == {"other_format": 1}
    assert place.rows()[0]["output"] == "json"


def test_automatic_captions_are_known_by_their_content(place: Place) -> None:
    place.write(f"{VIDEO}.en.vtt", AUTOMATIC)
    place.write(f"{VIDEO}.en-GB.vtt", f"{HEAD}by hand")
    assert place.prepare().unused_files == {"automatic": 1}
    assert place.rows()[0]["output"] == "by hand"


def test_languages_that_are_asked_for(place: Place) -> None:
    for language in ("de", "fr", "it"):
        place.write(f"{VIDEO}.{language}.vtt", f"{HEAD}auf {language}")
    with pytest.raises(SourceError, match=rf"{VIDEO} .* de, fr, it .*--languages de"):
        place.prepare()
    place.prepare("es", "fr")
    assert [row["output"] for row in place.rows()] == ["auf fr"]
    place.prepare("all")
    assert [(row["id"], row["order"], row["language"]) for row in place.rows()] == [
        (f"{VIDEO}-de-0000", "0", "de"),
        (f"{VIDEO}-fr-0001", "1", "fr"),
        (f"{VIDEO}-it-0002", "2", "it"),
    ]
    with pytest.raises(InputError, match="captions of this video in es"):
        place.prepare("es")


def test_languages_need_captions(place: Place) -> None:
    with pytest.raises(InputError, match="`--languages` chooses among captions"):
        prepare_corpus("phoenix", place.annotations, place.poses, place.out, languages=["de"])


def test_one_name_in_two_folders(place: Place) -> None:
    place.write(f"one/{VIDEO}.en.vtt", f"{HEAD}Same")
    place.write(f"two/{VIDEO}.en.vtt", f"{HEAD}Same")
    assert place.prepare().unused_files == {"same_language": 1}
    place.write(f"two/{VIDEO}.en.vtt", f"{HEAD}Other")
    with pytest.raises(SourceError, match="in two folders with different captions"):
        place.prepare()


def test_a_format_that_is_not_read_is_named(place: Place) -> None:
    place.write(f"{VIDEO}.en.ass", "[Script Info]")
    with pytest.raises(SourceError, match=rf"{VIDEO}\.en\.ass .*download the captions as VTT"):
        place.prepare()


def test_captions_of_other_videos_and_of_none_are_counted(place: Place) -> None:
    place.write(f"{VIDEO}.en.vtt", f"{HEAD}Text")
    place.write("BBBBBBBBBB2.en.vtt", f"{HEAD}Text")
    place.write(f"{VIDEO}.info.json", "{}")
    place.write(f"{VIDEO}.live_chat.json", "{}")
    assert place.prepare().unused_files == {"not_in_list": 1}


def test_a_video_of_music_alone_is_named(place: Place) -> None:
    place.write("video_ids.txt", f"{VIDEO} BBBBBBBBBB2")
    place.write(f"{VIDEO}.en.vtt", f"{HEAD}Text")
    place.write("BBBBBBBBBB2.en.vtt", f"{HEAD}[Music]")
    result = place.prepare()
    assert result.dropped == {"train": {"music": 1}} and result.removed_marks == {"music": 1}
    assert "BBBBBBBBBB2" in result.warnings[0]
    assert (place.out / "dropped.tsv").read_text().splitlines()[1:] == [
        "train\tBBBBBBBBBB2.en.vtt:3\tmusic"
    ]


def test_ids_as_people_list_them(tmp_path: Path) -> None:
    lines = [
        "\ufeff# a comment",
        "-abc_DEF-12  # another",
        "https://www.youtube.com/watch?v=AAAAAAAAAA1&t=30s",
        "https://youtu.be/BBBBBBBBBB2?si=x, youtube.com/shorts/CCCCCCCCCC3",
        "https://m.youtube.com/watch?app=desktop&v=DDDDDDDDDD4",
        "https://www.youtube-nocookie.com/embed/EEEEEEEEEE5?rel=0",
        '"FFFFFFFFFF6"',
        "",
        "AAAAAAAAAA1",
    ]
    (tmp_path / "ids.txt").write_text("\r\n".join(lines), encoding="utf-8")
    videos, repeated = read_video_ids(tmp_path / "ids.txt")
    assert videos == [
        "-abc_DEF-12",
        *(f"{letter * 10}{number}" for number, letter in enumerate("ABCDEF", 1)),
    ]
    assert [(row.row, row.reason) for row in repeated] == [("ids.txt:9", "duplicate")]


@pytest.mark.parametrize("word", ["https://vimeo.com/1", "a/b", "../../etc", "é", "id;"])
def test_what_is_no_id_is_refused_with_its_line(tmp_path: Path, word: str) -> None:
    (tmp_path / "ids.txt").write_text(f"ok\n{word}\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"ids\.txt:2 .*neither a video id nor an address"):
        read_video_ids(tmp_path / "ids.txt")


@pytest.mark.parametrize("name", ["a.info.json", "a.txt", "a.mp4", "video_ids.txt", "a.pose"])
def test_what_is_no_caption_file(name: str) -> None:
    assert parse_caption_name(Path(name)) is None
